"""What a benchmark task is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lr_search import Workload

Set = Literal["a", "b", "c", "judge"]


@dataclass(frozen=True)
class Task:
    """One small training whose best learning rate is known.

    Args:
        name: unique among all tasks.
        set: "a", "b" and "c" are for fitting rules, "judge" only for judging them.
        make: () -> the workload.
    """

    name: str
    set: Set
    make: Callable[[], Workload]


def tasks_of(name: Set, makers: list[Callable[[], Workload]]) -> list[Task]:
    """A set of tasks, each named as the function that makes its workload."""
    return [Task(make.__name__, name, make) for make in makers]
