"""The options of plugged-in executors and schedules: checked by the signature of what they are for."""

import numpy as np
import pytest

from lr_search import plugins
from lr_search.cli import arguments
from lr_search.errors import InvalidInputError
from lr_search.executors.executor_names import executor_by_name
from lr_search.kinds.options import taken_options
from lr_search.ramp.settings import RampSettings
from lr_search.schedules import by_name


def test_a_switch_of_an_executor_is_true_or_false_at_the_command_line():
    with pytest.raises(InvalidInputError, match=r"^verbose must be True or False, but got 'no'"):
        executor_by_name("ray", arguments.options("verbose=no"))
    assert executor_by_name("ray", arguments.options("verbose=false,telemetry=True")).telemetry is True


def plugged_in(width: int = 1, *, loud: bool = False, exact: "bool | None" = None, quick=True, text: "str | bool" = ""):
    raise AssertionError("called")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("loud", "no", "True or False"), ("exact", 1, "True, False or None"), ("quick", 0, "True or False"),
        ("width", 2.5, "a whole number"), ("text", 3, "a text, True or False"),
    ],
)  # fmt: skip
def test_an_option_of_others_is_known_by_its_signature(name, value, words):
    with pytest.raises(InvalidInputError) as raised:
        taken_options(plugged_in, {name: value})
    assert str(raised.value) == f"{name} must be {words}, but got {value!r}."


def test_options_that_are_right_are_taken_as_pythons_own():
    options = taken_options(plugged_in, {"width": np.int64(3), "loud": np.True_, "text": "no", "unknown": object})
    assert options == {"width": 3, "loud": True, "text": "no", "unknown": object}
    assert type(options["width"]) is int


def test_a_plugged_in_schedule_or_executor_is_checked_before_it_is_called(monkeypatch):
    monkeypatch.setattr(plugins, "load_plugin", lambda group, name: plugged_in)
    with pytest.raises(InvalidInputError, match=r"^loud must be True or False, but got 'no'"):
        executor_by_name("mine", arguments.options("loud=no"))
    with pytest.raises(InvalidInputError, match=r"^quick must be True or False, but got 1"):
        by_name("mine", 0.1, 300, quick=1)


def test_numpys_false_switches_the_gain_ratio_off():
    assert RampSettings(gain_ratio=np.False_).most_steps() == 100  # as many as the ramp has
    assert RampSettings(gain_ratio=np.False_).gain_ratio is False
