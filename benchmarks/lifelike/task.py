"""What a task is, and on which side of the split it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lr_search import Workload

Side = Literal["fit", "judge"]
LENGTHS = (300, 1000, 3000)


@dataclass(frozen=True)
class LifelikeTask:
    """A small training like those that people run, on real data.

    Args:
        name: unique among all tasks.
        side: "fit" for fitting rules, "judge" only for judging them.
        data: the source of its data, a name of `SOURCES`.
        family: its kind of network and what that learns; no family and no data stand on both sides.
        make: () -> the workload, of any number of steps.
        lengths: the numbers of steps that its truth is known for.
    """

    name: str
    side: Side
    data: str
    family: str
    make: Callable[[], Workload]
    lengths: tuple[int, ...] = LENGTHS


def family(
    side: Side,
    data: str,
    name: str,
    *makers: Callable[[], Workload],
    dear: Sequence[Callable[[], Workload]] = (),
    lengths: tuple[int, ...] = LENGTHS,
) -> list[LifelikeTask]:
    """The tasks of one family, each named as the function that makes its workload.

    Args:
        side: of them.
        data: their source.
        name: of the family.
        *makers: () -> workload.
        dear: likewise, of tasks whose steps cost too much for the longest length.
        lengths: that the truth is known for.
    """
    cut = lengths[:-1]
    every = [(make, lengths) for make in makers] + [(make, cut) for make in dear]
    return [LifelikeTask(make.__name__, side, data, name, make, known) for make, known in every]
