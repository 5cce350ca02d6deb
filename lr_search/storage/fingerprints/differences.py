"""In which parts two fingerprints differ, in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

DATA_ROUNDING = 1e-5  # of data and weights: other thread counts and processors round otherwise
TOLERANCE = 1e-4  # relative, on the first loss and metrics
TOLERANCE_ACROSS = 5e-2  # where few bits are computed in: half precision, or that of another kind of device
_ROUNDED = 2e-6
SETTINGS = (  # of a workload
    "num_steps", "eval_every", "accumulate", "clip_norm", "precision", "objective", "direction", "batch_size", "combine",
)  # fmt: skip
UNTRAINED = ("loss", "metrics")  # what comes out of the rest
THEN_NOW = ("then", "now")
Labels = tuple[str, str]

_WORDS = {
    "train_data": "the training data",
    "valid_data": "the validation data",
    "test_data": "the test data",
}


def same_print(one: list[Any], other: list[Any], tolerance: float) -> bool:
    """Whether two prints are of the same value, but for rounding."""
    if one[0] != other[0] or len(one) != len(other):
        return False
    return all(
        abs(here[0] - there[0]) <= tolerance and math.isclose(here[1], there[1], rel_tol=tolerance)
        for here, there in zip(one[1:], other[1:], strict=True)
    )


def differences(one: Mapping[str, Any], other: Mapping[str, Any], labels: Labels = THEN_NOW) -> list[str]:
    """What two records that share names have otherwise, a sentence each; what comes out untrained only where nothing else explains it.

    Args:
        one: name -> value; a part that is None came out otherwise each time, or was not measured.
        other: likewise.
        labels: what the sentences call the two.
    """
    shared = [name for name in other if name in one and name not in (*UNTRAINED, "device")]
    found = [words for name in shared for words in part_differences(name, one, other, labels)]
    causes = [name for name in shared if name in (*_PARTS, "precision") and part_differences(name, one, other, labels)]
    if not causes:
        shared = [name for name in UNTRAINED if name in one and name in other]
        found += [words for name in shared for words in part_differences(name, one, other, labels)]
    return found


def part_differences(
    name: str, one: Mapping[str, Any], other: Mapping[str, Any], labels: Labels = THEN_NOW
) -> list[str]:
    """In what one part of two fingerprints differs."""
    here, there = one[name], other[name]
    if name in UNTRAINED:
        across = one.get("device") != other.get("device") or other.get("precision") != "fp32"
        return _untrained(name, here, there, TOLERANCE_ACROSS if across else TOLERANCE, labels)
    words = _PARTS.get(name)
    if words is not None and here is not None and there is not None:
        comparable = isinstance(here, Mapping) and isinstance(there, Mapping)  # an older version kept a text
        return words(_WORDS.get(name, name), here, there, labels) if comparable else []
    if name in ("train_data", "valid_data", "test_data") and (here is None) != (there is None):
        label = labels[0] if here is None else labels[1]
        return [f"{_WORDS[name]} differ: none {label}"]
    return [] if _same(here, there) else [_differ(_WORDS.get(name, name), here, there, labels)]


def _data(name: str, one: Mapping[str, Any], other: Mapping[str, Any], labels: Labels) -> list[str]:
    counted = [
        f"{one[unit]:,} {unit} {labels[0]}, {other[unit]:,} {unit} {labels[1]}"
        for unit in ("batches", "examples")
        if one[unit] is not None and other[unit] is not None and one[unit] != other[unit]
    ]
    shared = [place for place in one["prints"] if place in other["prints"]]
    changed = [p for p in shared if not same_print(one["prints"][p], other["prints"][p], DATA_ROUNDING)]
    if changed:
        counted.append(f"{len(changed)} of {len(shared)} batches")
    return [f"{name} differ: {', and '.join(counted)}"] if counted else []


def _model(name: str, one: Mapping[str, Any], other: Mapping[str, Any], labels: Labels) -> list[str]:
    counts = ("parameters", "numbers", "frozen", "shapes")
    if any(one[each] != other[each] for each in counts):
        told = [
            f"{each['parameters']} parameters of {each['numbers']:,} numbers, {each['frozen']} frozen"
            for each in (one, other)
        ]
        if told[0] == told[1]:
            return ["the model's parameters differ in name, shape or which are frozen"]
        return [f"the model differs: {told[0]} {labels[0]}, {told[1]} {labels[1]}"]
    same = same_print(one["weights"], other["weights"], DATA_ROUNDING)
    return [] if same else ["the model's initial weights differ"]


def _curve(name: str, one: Mapping[str, Any], other: Mapping[str, Any], labels: Labels) -> list[str]:
    """Of a schedule at a peak LR of 1, rounded to 6 places."""
    pairs = list(zip(one["lr"], other["lr"], strict=False))
    same = len(one["lr"]) == len(other["lr"]) and all(abs(here - there) <= _ROUNDED for here, there in pairs)
    return [] if same else ["the schedule's curve differs"]


def _optimizer(name: str, one: Mapping[str, Any], other: Mapping[str, Any], labels: Labels) -> list[str]:
    if one["class"] != other["class"]:
        return [f"the optimizer differs: {one['class']} {labels[0]}, {other['class']} {labels[1]}"]
    found = _settings("the optimizer's", one["settings"], other["settings"], labels)
    counts = [len(each["groups"]) + each.get("more_groups", [0])[0] for each in (one, other)]
    if counts[0] != counts[1]:
        return [*found, f"the optimizer's parameter groups differ: {counts[0]} {labels[0]}, {counts[1]} {labels[1]}"]
    for place, (here, there) in enumerate(zip(one["groups"], other["groups"], strict=True), start=1):
        found += _group(place, here, there, labels)
    if not _same(one.get("more_groups"), other.get("more_groups")):
        found.append(f"the parameter groups after the {len(one['groups'])}th differ")
    return found


def _group(place: int, one: Mapping[str, Any], other: Mapping[str, Any], labels: Labels) -> list[str]:
    held = ("tensors", "numbers", "which")
    found = []
    if any(one[each] != other[each] for each in held):
        told = [f"{each['tensors']} of {each['numbers']:,} numbers" for each in (one, other)]
        which = "others" if told[0] == told[1] else f"{told[0]} {labels[0]}, {told[1]} {labels[1]}"
        found.append(f"the parameters in group {place} differ: {which}")
    settings = [{k: v for k, v in each.items() if k not in held} for each in (one, other)]
    names = dict.fromkeys([*settings[0], *settings[1]])
    one, other = ({name: each.get(name, "the optimizer's") for name in names} for each in settings)
    return found + _settings(f"group {place}'s", one, other, labels)


def _settings(whose: str, one: Mapping[str, Any], other: Mapping[str, Any], labels: Labels) -> list[str]:
    """Of the names that both have: another version of a package may know more."""
    changed = [name for name in one if name in other and not _same(one[name], other[name])]
    return [_differ(f"{whose} {name}", one[name], other[name], labels) for name in changed]


def _untrained(name: str, one: Any, other: Any, tolerance: float, labels: Labels) -> list[str]:
    if one is None or other is None:
        return []
    if name == "loss":
        return [] if _close(one, other, tolerance) else [_differ("the first loss", one, other, labels)]
    if one.keys() != other.keys():
        return [_differ("the metrics", ", ".join(sorted(one)), ", ".join(sorted(other)), labels)]
    changed = [metric for metric in one if not _close(one[metric], other[metric], tolerance)]
    return [_differ(f"the untrained model's {metric}", one[metric], other[metric], labels) for metric in changed]


def _close(one: float, other: float, tolerance: float) -> bool:
    one, other = float(one), float(other)  # a text where it is not finite
    if not math.isfinite(one) or not math.isfinite(other):
        return not math.isfinite(one) and not math.isfinite(other)
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=1e-9)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same, one of which may have been through JSON."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)


def _differ(name: str, one: Any, other: Any, labels: Labels) -> str:
    verb = "differ" if name.endswith("s") and not name.endswith("ss") else "differs"
    return f"{name} {verb}: {_shown(one)} {labels[0]}, {_shown(other)} {labels[1]}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return f"({', '.join(_shown(each) for each in value)})"
    return "none" if value in (None, "") else value if isinstance(value, str) else repr(value)


_PARTS: dict[str, Callable[[str, Mapping[str, Any], Mapping[str, Any], Labels], list[str]]] = {
    "train_data": _data,
    "valid_data": _data,
    "test_data": _data,
    "model": _model,
    "optimizer": _optimizer,
    "shape": _curve,
}
