"""What a schedule is joined of, in turn, over the steps of a training."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from lr_search.schedules.base import Schedule
from lr_search.schedules.compose import Joined
from lr_search.schedules.decay import Constant
from lr_search.schedules.polynomial import Linear


class Piece(NamedTuple):
    """A schedule that is not joined of others, and how many steps it is followed for.

    Args:
        schedule: it counts its steps from the piece's beginning.
        num_steps: >= 1.
    """

    schedule: Schedule
    num_steps: int


def pieces_of(schedule: Schedule, num_steps: int) -> list[Piece]:
    """What a schedule is joined of up to `num_steps`; a schedule that is not joined is its own one piece.

    >>> from lr_search.schedules import warmup
    >>> [type(piece.schedule).__name__ for piece in pieces_of(warmup(Constant(0.1), 5), 100)]
    ['Linear']
    """
    if type(schedule) is not Joined:
        return [Piece(schedule, num_steps)]
    edges = [0, *(int(boundary) for boundary in schedule.boundaries if boundary < num_steps), num_steps]
    begun = zip(schedule.schedules, pairwise(edges), strict=False)  # those that begin in time
    pieces = [piece for each, (start, stop) in begun for piece in pieces_of(each, stop - start)]
    merged = pieces[:1]
    for piece in pieces[1:]:
        if _goes_on(merged[-1], piece.schedule):
            merged[-1] = Piece(merged[-1].schedule, merged[-1].num_steps + piece.num_steps)
        else:
            merged.append(piece)
    return merged


def _goes_on(before: Piece, then: Schedule) -> bool:
    """Whether a line has come to where a constant goes on: the line stays there by itself."""
    line, num_steps = before
    if type(line) is not Linear or type(then) is not Constant or num_steps < line.num_steps:
        return False
    return math.isclose(line.end_lr, then.lr, rel_tol=1e-12)
