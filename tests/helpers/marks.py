"""What the tests of a file need, and whether a `-m` expression asks for it."""

import itertools
import re
from pathlib import Path

MARKS = ("ray", "browser", "postgresql", "processes", "conformance", "bench", "long")
SERVERS = ("ray", "browser", "postgresql")  # of which there is one, for all tests that need it


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
