"""The decorator: what is checked, when, and what a caller sees of it."""

import inspect
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from lr_search.errors import InvalidInputError, WorkloadError
from lr_search.kinds.checked import checked, is_checked
from lr_search.kinds.functions import require_takes
from lr_search.kinds.seeds import taken_seeds


@checked
def call(lr: float, *rest: int, num_steps: int = 3, anything=None, **options: float) -> tuple:
    """What it is for."""
    return lr, rest, num_steps, anything, options


@checked
@dataclass(frozen=True)
class Shape:
    width: float
    names: Mapping[str, int] | None = None

    def scaled(self, by: float) -> "Shape":
        return replace(self, width=self.width * by)

    @classmethod
    def of(cls, width: float) -> "Shape":
        return cls(width)

    @staticmethod
    def half(width: float) -> float:
        return width / 2

    def _own(self, by: float) -> object:
        return by


@checked
class Base(ABC):
    @abstractmethod
    def area(self, side: float) -> float: ...


def test_arguments_are_taken_as_pythons_own_by_place_and_by_name():
    result = call(np.float32(0.5), 1, num_steps=np.int64(4), anything="x", more=1.0)
    assert result == (0.5, (1,), 4, "x", {"more": 1.0})
    assert [type(each) for each in (result[0], result[2])] == [float, int]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": "x"}, "lr must be a number, but got 'x'."),
        ({"lr": 0.1, "num_steps": 2.5}, "num_steps must be a whole number, but got 2.5."),
        ({"lr": None, "num_steps": "x"}, "lr must be a number, but got None."),
    ],
)
def test_another_kind_is_an_error_with_name_rule_and_value(arguments, message):
    with pytest.raises(InvalidInputError) as raised:
        call(**arguments)
    assert str(raised.value) == message
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_constructors_and_public_methods_are_checked_and_private_ones_not():
    shape = Shape(np.float64(2), {"a": np.int64(3)})
    assert shape == Shape(2.0, {"a": 3})
    assert (shape.scaled(np.float32(2)).width, Shape.of(np.int8(3)).width, Shape.half(4)) == (4.0, 3, 2.0)
    for wrong in (lambda: Shape("x"), lambda: shape.scaled("x"), lambda: Shape.of("x"), lambda: Shape.half("x"),
                  lambda: replace(shape, width=None), lambda: Shape(1, {"a": 1.5})):  # fmt: skip
        with pytest.raises(InvalidInputError):
            wrong()
    assert shape._own("x") == "x"


def test_a_call_without_or_with_unknown_arguments_is_pythons_own_error():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'lr'"):
        call()
    with pytest.raises(TypeError, match="unexpected keyword argument 'depth'"):
        Shape(1.0, depth=2)


def test_what_overrides_is_the_users_own():
    class Square(Base):
        def area(self, side):
            return side

    assert Square().area("x") == "x"


def test_signature_docstring_name_and_pickling_stay():
    assert list(inspect.signature(call).parameters) == ["lr", "rest", "num_steps", "anything", "options"]
    assert (call.__doc__, call.__name__) == ("What it is for.", "call")
    assert pickle.loads(pickle.dumps(call)) is call
    assert pickle.loads(pickle.dumps(Shape(1.0))) == Shape(1.0)
    assert list(inspect.signature(Shape).parameters) == ["width", "names"]


def test_a_decorated_method_is_read_where_it_was_written():
    @checked
    class Room:
        @contextmanager
        def session(self, workloads: Mapping[str, int]) -> Iterator[Any]:
            yield workloads

    with Room().session({"a": 1}) as held:
        assert held == {"a": 1}
    with pytest.raises(InvalidInputError, match="workloads must be a mapping of texts to whole numbers"):
        Room().session({"a": 1.5})


def test_a_class_says_what_it_is_made_with_and_which_error_it_is():
    class Thing:
        kind_error = WorkloadError
        kind_remedy = "Build one with Thing()."

    @checked
    def use(thing: Thing) -> Thing:
        return thing

    use.__wrapped__.__globals__["Thing"] = Thing
    try:
        with pytest.raises(
            WorkloadError, match=r"^thing must be a tests\.kinds\.Thing, but got 3\. Build one with Thing\(\)\.$"
        ):
            use(3)
    finally:
        del use.__wrapped__.__globals__["Thing"]


def test_whether_something_is_checked_can_be_asked():
    assert is_checked(call)
    assert is_checked(Shape)
    assert is_checked(Shape.of)
    assert not is_checked(Shape._own)
    assert not is_checked(print)


# ---- functions of the user's, and seeds ----


@pytest.mark.parametrize(
    "function", [lambda model, batch: 0, lambda *every: 0, lambda model, batch, scale=1: 0, None, max]
)
def test_a_function_that_can_be_called_so_is_taken(function):
    assert require_takes("loss", function, "model", "batch") is None


@pytest.mark.parametrize(
    ("function", "came"),
    [
        (lambda: 0, r"but got <lambda>, which takes \(\)"),
        (lambda model, batch, scale: 0, r"which takes \(model, batch, scale\)"),
        (int, r"but got <class 'int'>"),
    ],
)
def test_a_function_that_cannot_is_an_error(function, came):
    with pytest.raises(InvalidInputError, match=rf"^loss must be a function of \(model, batch\), .*{came}"):
        require_takes("loss", function, "model", "batch")
    with pytest.raises(InvalidInputError, match=r"^optimizer must be a function of \(params, lr=\.\.\.\)"):
        require_takes("optimizer", lambda params: 0, "params", lr=0.1)


def test_seeds_are_how_many_or_which():
    assert taken_seeds(3) == [0, 1, 2]
    assert taken_seeds([5, 0]) == [5, 0]
    for wrong in (0, -1, 10**9, [], [-1], [1, 1], range(10**9)):
        with pytest.raises(InvalidInputError, match=r"^seeds must be how many \(1 to 10,000\), or which"):
            taken_seeds(wrong)
