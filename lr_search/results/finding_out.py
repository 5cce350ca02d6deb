"""What finding out cost: all that was run for the answer, without what is used today."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lr_search.results.costs import duration_text
from lr_search.storage.records import StudyRecord


@dataclass(frozen=True)
class FindingOut:
    """What an answer took.

    Args:
        trials: how many trainings, range tests and probes, those to confirm included.
        range_tests: how many of them are range tests.
        steps: optimizer steps of all of them.
        seconds: the time in them, whether one after the other or not.
        confirmed: whether some were to confirm.
    """

    trials: int
    range_tests: int
    steps: int
    seconds: float
    confirmed: bool

    def in_words(self, *, with_range_tests: bool = False) -> str:
        """`2,221 steps, 12 trials and 24 s of search`."""
        among = (
            f" ({_count(self.range_tests, 'range test')} among them)" if with_range_tests and self.range_tests else ""
        )
        whole = "search and confirmation" if self.confirmed else "search"
        return (
            f"{self.steps:,} steps, {_count(self.trials, 'trial')}{among} and {duration_text(self.seconds)} of {whole}"
        )


def finding_out(records: Sequence[StudyRecord]) -> FindingOut:
    """What the answer of these studies took."""
    studies = [study for study in records if not is_todays(study)]
    spent = [(study, trial) for study in studies for trial in study.trials if trial.state != "RUNNING"]
    return FindingOut(
        trials=len(spent),
        range_tests=sum(study.kind == "range_test" for study, _ in spent),
        steps=sum(trial.steps for _, trial in spent),
        seconds=sum(float(trial.outcome.get("seconds", 0.0)) for _, trial in spent),
        confirmed=any(study.kind == "confirm" for study in studies),
    )


def is_todays(study: StudyRecord) -> bool:
    """Whether it trains with today's, beside the searches or beside the trainings that confirm them."""
    return study.kind == "today" or (study.kind, study.plan["strategy"]) == ("confirm", "today")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
