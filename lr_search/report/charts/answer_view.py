"""What the picture of the answer shows: the trials under its schedule and optimizer, and what a range test said before them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lr_search.curves.prior import LRPrior
from lr_search.kinds.direction import Direction
from lr_search.report.facts import lr_words
from lr_search.report.figures.objective_by_lr import lr_points
from lr_search.report.figures.panels import Panels
from lr_search.report.figures.picture import name_list, thinned
from lr_search.report.plots.style import Look, short_number
from lr_search.report.sentences import TodayMark
from lr_search.results.candidates import Candidate
from lr_search.results.findings import Findings
from lr_search.results.recommendation import Recommendation
from lr_search.storage.records import StudyRecord

MOST_TRIALS = 600  # in the picture
MOST_OTHERS = 6  # other schedules and optimizers, as lines
_ALIKE = 0.02  # of the logarithm of two LRs that are shown as one
_LEAST_LRS = 3  # that were tried, before they can refute a suggestion


@dataclass(frozen=True)
class RangeTested:
    """What a range test suggested for the answer's schedule and optimizer.

    Args:
        seed: whose.
        lr: the suggestion for the answer's schedule.
        marked: the one that the picture of the range test has: for the training that its curve knows of.
    """

    seed: int
    lr: float
    marked: float


@dataclass(frozen=True)
class AnswerView:
    """What is drawn.

    Args:
        best: the answer.
        trials: as of `lr_points`, at most 600.
        count: of the trials there are.
        fitted: the objective over the LR under the answer's schedule and optimizer.
        others: the same of the next best, by name.
        tested: the range tests' suggestions.
        prior: of the first search that had one.
        today: the LR used today; None where it was not told.
        today_value: the objective with it; nan where unknown.
        objective: its name, in words.
        lr_name: "learning rate" or "peak learning rate".
        direction: what is better.
        looks: of strategies.
    """

    best: Recommendation
    trials: pd.DataFrame
    count: int
    fitted: Candidate
    others: Mapping[str, Candidate]
    tested: tuple[RangeTested, ...]
    prior: LRPrior | None
    today: float | None
    today_value: float
    objective: str
    lr_name: str
    direction: Direction
    looks: Mapping[str, Look]

    @property
    def title(self) -> str:
        """What is drawn, as a heading."""
        return f"{self.objective[:1].upper()}{self.objective[1:]} against the {self.lr_name}"

    @property
    def caption(self) -> str:
        """What that shows, in sentences."""
        lost = int(self.trials["diverged"].sum())
        ended = f", {lost} of them diverged" if lost else ""
        drawn = f"{len(self.trials):,} of {self.count:,}" if len(self.trials) < self.count else f"All {self.count:,}"
        trials = f"{drawn} trial{'s' * (self.count != 1)} under {self.best.schedule} with {self.best.optimizer}{ended}."
        low, high = self.fitted.bounds
        if not math.isfinite(low) or not low < high:
            return trials
        flat = f"From {short_number(low)} to {short_number(high)} the {self.objective} stays within 5% of the way from step 0."
        return f"{trials} {flat}"

    @property
    def suggested(self) -> str:
        """What the range tests suggested for the answer's schedule; empty where there was none."""
        if not self.tested:
            return ""
        told = name_list([f"{short_number(each.lr)} (seed {each.seed})" for each in self.tested])
        others = any(abs(math.log(each.lr / each.marked)) > _ALIKE for each in self.tested)
        marked = " The pictures mark what they suggest for a schedule that decays." if others else ""
        return f"For {self.best.schedule} with {self.best.optimizer} they suggested {told}.{marked}"

    @property
    def refuted(self) -> str:
        """That the trials found another LR than the range test, where they did; empty where they agree or cannot tell."""
        low, high = self.fitted.bounds
        tried = self.fitted.lrs
        if len(tried) < _LEAST_LRS or not math.isfinite(low):
            return ""
        off = [each for each in self.tested if tried[0] <= each.lr <= tried[-1] and not low <= each.lr <= high]
        if not off:
            return ""
        named = name_list([f"{short_number(each.lr)} (seed {each.seed})" for each in off])
        many = f"{len(off)} of {len(self.tested)} range tests" if len(self.tested) > 1 else "the range test"
        above = all(each.lr > high for each in off)
        way = "higher" if above else "lower" if all(each.lr < low for each in off) else "elsewhere"
        return (
            f"The trials refute {many}: suggested {'was' if len(off) == 1 else 'were'} {named}, {way} than "
            f"the {short_number(low)} to {short_number(high)} that are about as good as the best."
        )


def answer_view(findings: Findings, best: Recommendation, today: TodayMark) -> AnswerView | None:
    """What is drawn of an answer; None where fewer than two trials ended under its schedule and optimizer.

    Args:
        findings: of a comparison.
        best: its answer.
        today: what is used today.
    """
    panels, pair = Panels(findings), (best.schedule, best.optimizer)
    fitted = panels.candidates.get(pair)
    trials = findings.trials
    own = trials[(trials["schedule"] == best.schedule) & (trials["optimizer"] == best.optimizer)]
    points = lr_points(own, panels.starts.get(pair), panels.direction)
    if fitted is None or len(points) < 2:
        return None
    searches = [s for s in findings.searches if (s.plan["schedule"], s.plan["optimizer"]) == pair]
    others = [(name, each) for name, each in panels.candidates.items() if name != pair and len(each.lrs) > 1]
    return AnswerView(
        best=best, trials=thinned(points, MOST_TRIALS), count=len(points), fitted=fitted,
        others={" with ".join(name if panels.several_optimizers else name[:1]): each for name, each in others[:MOST_OTHERS]},
        tested=_tested(findings, searches), prior=next((s.prior for s in searches if s.prior is not None), None),
        today=today.lr, today_value=today.value, objective=panels.objective,
        lr_name=lr_words(findings, best.schedule), direction=panels.direction, looks=panels.looks,
    )  # fmt: skip


def _tested(findings: Findings, searches: list[StudyRecord]) -> tuple[RangeTested, ...]:
    """The suggestion for each seed that has a range test, as its search was told it: the mode of its prior."""
    curves = {
        (s.plan["optimizer"], s.plan["seed"]): s.curves[0]
        for s in findings.records
        if s.kind == "range_test" and s.curves
    }
    suggested = {}
    for study in searches:
        curve, seed = curves.get((study.plan["optimizer"], study.plan["seed"])), study.plan["seed"]
        if study.prior is not None and curve is not None:
            suggested[seed] = RangeTested(seed, study.prior.mode, curve.suggest().lr)
    return tuple(suggested[seed] for seed in sorted(suggested))
