"""Wrong calls and wrong command lines: some of them in every run, many in a whole one; and that the fuzz finds what is wrong."""

import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lr_search.errors import InvalidInputError, require
from lr_search.kinds.checked import is_checked

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fuzz() -> Any:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import fuzz
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return fuzz


def faults(found: Any) -> list[Any]:
    return [verdict for verdict in found if verdict.is_fault]


def test_some_wrong_calls_and_command_lines_end_in_words(fuzz: Any) -> None:
    found = fuzz.run(calls=200, lines=40, seed=2)
    assert faults(found) == []
    assert Counter(verdict.kind for verdict in found)["refused"] > 200


@pytest.mark.bench
def test_many_wrong_calls_and_command_lines_end_in_words(fuzz: Any) -> None:
    found = fuzz.run(calls=3000, lines=400, seed=0)
    assert len(found) == 3400
    assert faults(found) == []


def test_every_call_that_is_made_wrong_is_right_otherwise(fuzz: Any) -> None:
    slow = ("to_mlflow", "train", "save", "publish")  # seconds each, and called by other tests
    with fuzz.quiet_folder():
        for target in fuzz.targets():
            if target.path.rpartition(".")[2] not in slow:
                target.function(**target.needed())


def test_every_public_function_is_checked(fuzz: Any) -> None:
    targets = fuzz.targets()
    assert len(targets) > 200
    by_hand = ("__call__", "momentum", "load")  # a step is checked each time it is taken; a kept snapshot is no user's
    names = [each.path for each in targets if each.parameters and not is_checked(each.function)]
    assert [name for name in names if name.rpartition(".")[2] not in by_hand] == []


# ---- what it would find ----


def planted(
    number: float = 1.0, many: int = 3, name: str = "", lr: "float | None" = None, table: "dict[str, int] | None" = None
) -> None:
    """What a careless author writes.

    Args:
        number: > 0.
        many: >= 1.
        name: of no matter what.
    """
    if lr is not None:
        time.sleep(lr)
    if table is not None:
        table["key"]
    require(number != 1.5, "number must not be 1.5", got=number)
    if len(str(name)) > 5000:
        raise InvalidInputError(f"name must be short, but got {name}.")


@pytest.mark.parametrize(
    ("name", "words", "kind"),
    [
        ("number", "-1", "accepted"),  # by the docstring
        ("number", "nan", "accepted"),
        ("number", "'nonsense'", "accepted"),  # by the annotation
        ("number", "1.5", "refused"),
        ("many", "0", "accepted"),
        ("many", "None", "accepted"),
        ("name", "None", "accepted"),
        ("name", "'nonsense'", "worked"),
        ("name", "10,000 letters", "quoted too long"),
        ("lr", "10**9", "slow"),
        ("lr", "object()", "bare exception"),
        ("table", "{}", "bare exception"),
    ],
)
def test_a_planted_fault_is_found(fuzz: Any, monkeypatch: pytest.MonkeyPatch, name: str, words: str, kind: str) -> None:
    monkeypatch.setattr(fuzz, "limited", partial(fuzz.limited, 0.2))
    target = fuzz.Target("planted", planted, dict)
    (wrong,) = (each for each in fuzz.values_for(planted, name) if each.words == words)
    assert fuzz.judged(target, name, wrong).kind == kind


def test_a_command_line_that_is_right_counts_as_accepted(fuzz: Any) -> None:
    assert fuzz.judged_line(["list"]).kind == "accepted"
    assert fuzz.judged_line(["list", "--nonsense"]).kind == "refused"
