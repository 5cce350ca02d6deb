"""What the tests of a file need, and whether a `-m` expression asks for it."""

import itertools
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest

MARKS = ("ray", "browser", "postgresql", "processes", "conformance", "bench", "long", "trainers")


def needs_of(path: Path) -> set[str]:
    """What every test of that file is marked with: its line `pytestmark = ...`."""
    line = re.search(r"^pytestmark = .*$", path.read_text(), flags=re.MULTILINE)
    return set(re.findall(r"pytest\.mark\.(\w+)", line[0])) & set(MARKS) if line else set()


def wanted(expression: str, needs: set[str]) -> bool:
    """Whether the expression can be true of a test that has these marks, and maybe others."""
    names = set(re.findall(r"\w+", expression)) - {"and", "or", "not"}
    open_names = sorted(names - needs)
    return any(
        eval(
            expression or "True",
            {"__builtins__": {}},
            dict.fromkeys(needs, True) | dict(zip(open_names, values, strict=True)),
        )
        for values in itertools.product([False, True], repeat=len(open_names))
    )


def group_of(item: pytest.Item) -> str:
    """The tests that run in one process where some run side by side: those of a file, and those that share a server."""
    if "shared_ray" in getattr(item, "fixturenames", ()):
        return "ray"
    return "postgresql" if item.get_closest_marker("postgresql") else item.location[0]


def usually(kept: Collection[object], cases: Iterable[Any], others: str = "long") -> list[Any]:
    """The cases for a parametrisation: those kept run always, the others with every test, since they run the same lines.

    Args:
        kept: which, by their values; or, of a `pytest.param`, by their ids.
        cases: all of them.
        others: what the others are marked with.
    """
    found = []
    for case in cases:
        param = case if hasattr(case, "marks") else pytest.param(case)
        name = param.id if param.id is not None else param.values[0]
        found.append(
            param
            if name in kept
            else pytest.param(*param.values, id=param.id, marks=(*param.marks, getattr(pytest.mark, others)))
        )
    left = [name for name in kept if not any(name in (param.id, *param.values[:1]) for param in found)]
    assert not left, f"no case is called {left}"
    return found
