"""What the user's code raises becomes a failure that says what and where; Ctrl-C and signals go on being what they are."""

import asyncio
import functools
import json
import signal
import sys
import traceback

import pytest

from lr_search.errors import error_text, raised_by_user, user_code, user_frames

SIGNALS = [StopIteration, SystemExit, GeneratorExit, asyncio.CancelledError, type("Skipped", (BaseException,), {})]


def throws(error):
    raise error


@pytest.mark.parametrize("kind", SIGNALS)
def test_what_steers_other_code_becomes_a_runtime_error_with_its_traceback(kind):
    error = kind("mine")
    with pytest.raises(RuntimeError) as found, user_code:
        throws(error)
    assert str(found.value) == f"The user's code raised {kind.__name__}: mine"
    assert found.value.__cause__ is raised_by_user(found.value) is error
    assert traceback.extract_tb(error.__traceback__)[-1].name == "throws"
    assert "in throws\n    raise error" in "".join(traceback.format_exception(found.value))


@pytest.mark.parametrize("error", [ValueError("v"), KeyboardInterrupt(), StopAsyncIteration(), RuntimeError("r")])
def test_other_exceptions_and_ctrl_c_stay_what_they_are(error):
    with pytest.raises(type(error)) as found, user_code:
        throws(error)
    assert found.value is raised_by_user(error) is error


def test_a_function_may_be_marked_as_the_users_code():
    raised = user_code(throws)
    with pytest.raises(RuntimeError, match=r"raised StopIteration$"):
        list(iter(lambda: raised(StopIteration()), None))
    assert user_code(len)([1, 2]) == 2


def ends(number, frame, code=0):
    sys.exit(code)


class Ends:
    def __call__(self, number, frame):
        ends(number, frame)

    def method(self, number, frame):
        ends(number, frame)


@pytest.mark.parametrize("handler", [ends, functools.partial(ends, code=3), Ends(), Ends().method])
def test_what_a_signals_handler_raises_ends_the_program_still(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(SystemExit), user_code:
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_one_line_it_is_what_was_raised_and_where():
    for error, words in ((SystemExit(0), "SystemExit: 0"), (StopIteration(), "StopIteration")):
        with pytest.raises(RuntimeError) as found, user_code:
            throws(error)
        assert error_text(found.value) == f"{words} (test_errors.py, line {throws.__code__.co_firstlineno + 1})"


def test_a_stop_iteration_in_a_generator_is_told_as_such():
    def batches():
        yield throws(StopIteration("no more"))

    with pytest.raises(RuntimeError) as found:
        list(batches())
    assert error_text(found.value).startswith("StopIteration: no more (test_errors.py, line ")


def test_the_users_places_are_not_pythons_nor_installed_packages():
    with pytest.raises(ValueError, match="Expecting") as found:
        json.loads("{")
    assert [frame.filename for frame in user_frames(found.value)] == [__file__]
