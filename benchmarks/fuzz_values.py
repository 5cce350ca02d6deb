"""Wrong values for an argument, and whether one is surely nonsense: by the words of the annotation, and the range that its docstring gives."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

import lr_search as lrs


@dataclass(frozen=True)
class Wrong:
    """A value to try.

    Args:
        words: what it is, for the report.
        make: gives it.
        kinds: of which of the words below it is, as an annotation would have it; empty: of none.
    """

    words: str
    make: Callable[[], Any]
    kinds: frozenset[str] = frozenset()


def _wrong(words: str, make: Callable[[], Any], kinds: str = "") -> Wrong:
    return Wrong(words, make, frozenset(kinds.split()))


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(3000):
        deep = [deep]
    return deep


class Unprintable:
    """An object that cannot even be shown."""

    def __repr__(self) -> str:
        raise ValueError("no repr")


def _raises(*arguments: object, **named: object) -> Any:
    raise KeyError("raised by the function that was passed")


VALUES = (
    _wrong("None", lambda: None, "None"),
    _wrong("'nonsense'", lambda: "nonsense", "str path"),
    _wrong("''", lambda: "", "str path"),
    _wrong("NUL", lambda: "a\0b", "str"),
    _wrong("ESC", lambda: "\x1b[31mred", "str path"),
    _wrong("10,000 letters", lambda: "long " * 2000, "str path"),
    _wrong("bytes", lambda: b"bytes"),
    _wrong("0", lambda: 0, "int float array"),
    _wrong("-1", lambda: -1, "int float array"),
    _wrong("-0.5", lambda: -0.5, "float array"),
    _wrong("1.5", lambda: 1.5, "float array"),
    _wrong("nan", lambda: float("nan"), "float array"),
    _wrong("inf", lambda: float("inf"), "float array"),
    _wrong("-inf", lambda: float("-inf"), "float array"),
    _wrong("1e300", lambda: 1e300, "float array"),
    _wrong("10**9", lambda: 10**9, "int float array"),
    _wrong("10**400", lambda: 10**400, "int"),
    _wrong("1j", lambda: 1j),
    _wrong("True", lambda: True, "bool"),
    _wrong("[]", list, "sequence iterable array"),
    _wrong("[1, 'x']", lambda: [1, "x"], "sequence iterable"),
    _wrong("[None]", lambda: [None], "sequence iterable"),
    _wrong("(2, 1)", lambda: (2, 1), "sequence iterable array"),
    _wrong("nested lists", _deep, "sequence iterable"),
    _wrong("{}", dict, "mapping iterable"),
    _wrong("{1: 2}", lambda: {1: 2}, "mapping iterable"),
    _wrong("{'x': None}", lambda: {"x": None}, "mapping iterable"),
    _wrong("{'format': 1}", lambda: {"format": 1}, "mapping iterable"),
    _wrong("a set", lambda: {1, 2}, "iterable"),
    _wrong("object()", object),
    _wrong("an object without repr", Unprintable),
    _wrong("a tensor", lambda: torch.ones(2), "array iterable sequence"),
    _wrong("a complex tensor", lambda: torch.ones((), dtype=torch.complex64)),
    _wrong("an array of texts", lambda: np.array(["a", "b"]), "iterable sequence"),
    _wrong("an empty frame", pd.DataFrame, "DataFrame iterable array"),
    _wrong("the class int", lambda: int, "callable class"),
    _wrong("the class LocalExecutor", lambda: lrs.LocalExecutor, "callable class"),
    _wrong("the class LRCurve", lambda: lrs.LRCurve, "callable class"),
    _wrong("a function that raises", lambda: _raises, "callable"),
    _wrong("a function without arguments", lambda: lambda: None, "callable"),
    _wrong("a function that gives None", lambda: lambda *arguments, **named: None, "callable"),
)  # fmt: skip

_HOLD = re.compile(r"Mapping|Sequence|dict|tuple|Any|Named|Priors|Data|Iterable|ArrayLike|FloatArray")


def values_for(function: Callable[..., Any], name: str) -> list[Wrong]:
    """The values to try: those of the table, and each of them within a list and a mapping where the parameter takes such."""
    if not _HOLD.search(str(_annotation(inspect.signature(function).parameters[name]))):
        return list(VALUES)
    return [
        *VALUES,
        *(
            Wrong(f"[{each.words}]", partial(_list, each), frozenset({"sequence", "iterable", "array"}))
            for each in VALUES
        ),
        *(
            Wrong(f"{{'mine': {each.words}}}", partial(_mapping, each), frozenset({"mapping", "iterable"}))
            for each in VALUES
        ),
    ]


def _list(wrong: Wrong) -> list[Any]:
    return [wrong.make()]


def _mapping(wrong: Wrong) -> dict[str, Any]:
    return {"mine": wrong.make()}


_NEVER_NEGATIVE = {
    "seed",
    "num_steps",
    "steps_per_epoch",
    "warmup_steps",
    "batch_size",
    "seeds",
    "budget",
    "trial_seconds",
}

# the words of annotations, as kinds of the table above; a word that is not here takes an object of that class
_ANY = {"Any", "object", "_empty", "T", "NoneType"}
_WORDS: dict[str, str] = {
    "int": "int", "float": "float int", "str": "str", "bool": "bool", "None": "None", "Path": "path", "Sequence": "sequence",
    "list": "sequence", "tuple": "sequence", "Iterable": "iterable", "Mapping": "mapping", "dict": "mapping", "Callable": "callable",
    "FloatArray": "array", "ArrayLike": "array", "type": "class", "DataFrame": "DataFrame",
    # aliases
    "OptimizerFactory": "callable", "OptimizerForms": "callable sequence",
    "Loss": "callable", "Metrics": "callable", "BatchSource": "callable iterable", "Combine": "str callable",
    "Direction": "str", "Precision": "str", "Ramp": "str", "Status": "str", "RampEnd": "str", "Literal": "str",
    "NamedOptimizers": "str sequence mapping", "Pruner": "str None", "StorageLike": "str None", "Source": "str",
    "Named": "sequence", "Priors": "sequence callable None mapping", "Inner": "None", "MakeSampler": "callable", "LayoutFunction": "callable",
    "Data": "iterable sequence callable", "Space": "mapping callable", "Panels": "sequence",
    "Read": "callable", "MaybeNan": "float int", "ModelFactory": "callable",
    "Seed": "int", "Steps": "int", "NumSteps": "int", "PositiveLR": "float int",
}  # fmt: skip


def is_nonsense(function: Callable[..., Any], name: str, wrong: Wrong) -> bool:
    """Whether no such value can be right: then a call that accepts it is wrong."""
    annotation = re.sub(r"^InitVar\[(.*)\]$", r"\1", str(_annotation(inspect.signature(function).parameters[name])))
    outer = re.sub(r"'[^']*'", "Literal", _outer(annotation))
    words = set(re.findall(r"\w+", outer)) - {
        "npt",
        "pd",
        "torch",
        "optim",
        "nn",
        "optuna",
        "collections",
        "abc",
        "amp",
    }
    if words & _ANY or not words:
        return False
    allowed = {kind for word in words for kind in _WORDS.get(word, word).split()}
    if not wrong.kinds & allowed:
        return True
    value = wrong.make()
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and allowed <= {"int", "float", "None"}
    return is_number and _is_out_of_range(function, name, value)


def _annotation(parameter: inspect.Parameter) -> object:
    return getattr(parameter.annotation, "__name__", parameter.annotation)


def _outer(annotation: str) -> str:
    """Without what stands in brackets."""
    while "[" in annotation:
        shorter = re.sub(r"\[[^\[\]]*\]", "", annotation)
        if shorter == annotation:
            break
        annotation = shorter
    return annotation


def _is_out_of_range(function: Callable[..., Any], name: str, value: float) -> bool:
    if name in _NEVER_NEGATIVE and value < 0:
        return True
    if value != value:  # nan
        return "MaybeNan" not in str(_annotation(inspect.signature(function).parameters[name]))
    said = re.search(rf"^\s+{name}: (.*?)(?=^\s+\w+: |^\s*$)", inspect.getdoc(function) or "", re.MULTILINE | re.DOTALL)
    words = said.group(1) if said else ""
    least = re.search(r"(>=|>) (\d+(?:\.\d+)?)(?!\s*\w*_)", words)
    if least and "or 0" not in words and ", or" not in words:
        bound = float(least.group(2))
        return value < bound or (value == bound and least.group(1) == ">")
    between = re.search(r"in ([\[(])(\d+), (\d+)([\])])", words)
    return bool(between and not float(between.group(2)) <= value <= float(between.group(3)))
