"""What each kind of value takes, and as what."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import optuna
import pytest
import torch

from lr_search.kinds.annotations import MaybeNan, kind_of
from lr_search.kinds.ranges import PositiveLR, Seed

NAMES = {
    "npt": npt, "Path": Path, "Sequence": Sequence, "Mapping": Mapping, "Callable": Callable, "Iterable": Iterable, "Any": Any,
    "Literal": Literal, "optuna": optuna, "MaybeNan": MaybeNan,
    "Seed": Seed, "PositiveLR": PositiveLR,
}  # fmt: skip

# annotation: values that are of the kind and as what they are taken, values that are not
CASES = {
    "float": (
        [(0.5, 0.5), (3, 3), (np.float32(0.5), 0.5), (np.int64(3), 3), (torch.tensor(0.25), 0.25), (np.array(2.0), 2.0),
         (Fraction(1, 4), 0.25), (math.inf, math.inf)],
        [None, "1", True, np.True_, 1j, [1.0], torch.ones(2), torch.ones(1), math.nan, np.float32("nan"), 10**400, object(), b"1"],
    ),
    "MaybeNan": ([(0.5, 0.5)], ["nan", None]),
    "int": (
        [(3, 3), (np.int32(3), 3), (np.uint8(3), 3), (torch.tensor(3), 3), (np.array(3), 3), (-(2**63), -(2**63))],
        [None, "3", True, np.True_, 3.0, np.float64(3), torch.tensor(3.0), torch.tensor(True), [3], 2**63, 1j, Decimal(3)],
    ),
    "Seed": ([(0, 0), (np.int64(3), 3)], [-1, 1.5, None, True]),
    "PositiveLR": ([(0.1, 0.1), (1, 1)], [0, 0.0, -1, math.nan, "1"]),
    "bool": ([(True, True), (np.False_, False)], [0, 1, "True", None, np.int64(1), torch.tensor(True)]),
    "str": ([("a", "a"), ("", ""), (np.str_("a"), "a")], [None, 3, b"a", ["a"], Path("a")]),
    "str | Path": ([("a", "a"), (Path("a"), Path("a"))], ["a\0b", 3, None, b"a", "x" * 256, "a/" + "y" * 256 + "/b"]),
    "float | None": ([(0.5, 0.5), (None, None), (np.float32(2), 2.0)], ["0.5", math.nan, False]),
    "Literal['rel', 'abs']": ([("rel", "rel")], ["Rel", None, 0, ["rel"]]),
    "int | Literal['auto']": ([(3, 3), ("auto", "auto")], [2.5, "fast", None, True]),
    "Callable[[], Any]": ([(print, print), (dict, dict)], [3, None, "print"]),
    "Sequence[int]": (
        [([1, np.int64(2)], [1, 2]), ((1, 2), (1, 2)), (range(3), range(3)), (np.array([1, 2]), [1, 2]), (torch.tensor([1, 2]), [1, 2])],
        [3, "12", b"12", None, {1, 2}, {1: 2}, [1, "2"], [1, 2.5], [True], np.array(3), np.array([1.5])],
    ),
    "Sequence[str] | str": ([("a", "a"), (["a"], ["a"])], [[1], 3, None]),
    "tuple[float, float]": (
        [((1, 2.0), (1, 2.0)), ([0.1, np.float32(2)], (0.1, 2.0)), (np.array([1.0, 2.0]), (1.0, 2.0)), (range(2), (0, 1))],
        [(1,), (1, 2, 3), "12", None, 3, (1, "2"), (1, math.nan), range(10**9)],
    ),
    "Mapping[str, float]": (
        [({"a": 1.5}, {"a": 1.5}), ({"a": np.float32(2)}, {"a": 2.0}), (MappingProxyType({"a": 1}), {"a": 1}), ({}, {})],
        [None, [("a", 1)], {1: 2.0}, {"a": "x"}, {"a": None}, "a"],
    ),
    "Iterable[Any]": ([([1], [1]), ("no"[:0].split(), [])], [3, "text", b"text", None, list, torch.tensor(3)]),
    "npt.ArrayLike": (
        [(0.5, 0.5), ([1, 2], [1, 2]), ((0.5, 3), (0.5, 3))],
        ["0.5", None, ["a"], [None], 1j, {"a": 1}, object(), [[1], [1, 2]], 10**400, True],
    ),
}  # fmt: skip


@pytest.mark.parametrize("annotation", CASES)
def test_a_value_of_the_kind_is_taken_as_pythons_own(annotation):
    kind = kind_of(annotation, NAMES)
    for value, expected in CASES[annotation][0]:
        result = kind.take(value)
        assert result == expected
        assert type(result) is type(expected) or isinstance(expected, dict)


@pytest.mark.parametrize("annotation", CASES)
def test_a_value_of_another_kind_is_not(annotation):
    kind = kind_of(annotation, NAMES)
    assert [value for value in CASES[annotation][1] if kind.fits(value)] == []


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ("float", "a number"), ("int | None", "a whole number or None"), ("bool | None", "True, False or None"),
        ("Literal['rel', 'abs'] | None", "'rel', 'abs' or None"), ("Mapping[str, float]", "a mapping of texts to numbers"),
        ("tuple[float, float]", "a pair of numbers"), ("Sequence[str]", "a sequence of texts"),
        ("Seed", "a whole number, at least 0"), ("PositiveLR | None", "a number above 0 or None"),
        ("optuna.Study", "an optuna.study.Study"), ("str | Path", "a path"),
    ],
)  # fmt: skip
def test_a_kind_in_words(annotation, words):
    assert kind_of(annotation, NAMES).words == words


def test_nan_is_a_number_where_it_may_be_unknown():
    assert math.isnan(kind_of("MaybeNan", NAMES).take(math.nan))
    (taken,) = kind_of("Mapping[str, MaybeNan]", NAMES).take({"a": math.nan}).values()
    assert math.isnan(taken)


@pytest.mark.parametrize("annotation", ["Any", "object", "float | Any", "Sequence[Any] | Any"])
def test_where_anything_may_come_nothing_is_checked(annotation):
    assert kind_of(annotation, NAMES) is None


def test_a_class_in_place_of_an_object_is_told_so():
    kind = kind_of("optuna.samplers.BaseSampler", NAMES)
    assert kind.fits(optuna.samplers.RandomSampler())
    with pytest.raises(Exception, match=r"^That is a class: pass an object of it, RandomSampler\(\.\.\.\)\.$"):
        kind.take(optuna.samplers.RandomSampler)


def test_a_class_that_is_imported_for_types_alone_goes_by_its_name():
    class Frame:
        pass

    class Longer(Frame):
        pass

    for annotation in ("pandas.Frame", "Frame", "Sequence[Frame] | Frame | None"):
        kind = kind_of(annotation, NAMES)
        assert kind.fits(Longer())
        assert not kind.fits(3)
    assert kind_of("Sequence[pandas.Frame] | None", NAMES).fits([Longer()])
    assert not kind_of("Sequence[pandas.Frame] | None", NAMES).fits([3])


def test_of_a_long_list_the_beginning_is_looked_at():
    kind = kind_of("Sequence[int]", NAMES)
    assert not kind.fits(["x", *range(20_000)])
    assert kind.take([*range(20_000), "x"])[-1] == "x"
