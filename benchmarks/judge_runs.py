"""One LR that a rule or a search came to, and what it loses."""

from __future__ import annotations

from dataclasses import dataclass

from judge_regrets import RegretCurve


@dataclass(frozen=True)
class Run:
    """What one row of the tables came to for one task, schedule, length and seed.

    Args:
        task: its name.
        schedule: its name.
        length: as it is printed.
        row: the rule or the search.
        seed: of the range test, and of the trainings.
        place: log10 of the LR; None where there is none: all trainings diverged.
        status: the suggestion's.
        regret: 0 the best LR, 1 no better than not training.
        outside: whether the LR lies beyond all that were trained.
    """

    task: str
    schedule: str
    length: str
    row: str
    seed: int
    place: float | None
    status: str | None
    regret: float
    outside: bool


def run_at(truth: RegretCurve, row: str, seed: int, place: float | None, status: str | None = None) -> Run:
    """The run with its regret looked up; 1 without an LR."""
    lost, outside = (1.0, False) if place is None else (truth.regret(place), truth.outside(place))
    return Run(truth.task, truth.schedule, truth.length, row, seed, place, status, lost, outside)
