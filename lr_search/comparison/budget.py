"""What a comparison may spend and plans to spend: the arithmetic of budgets, in steps."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from lr_search.comparison.question import Question
from lr_search.errors import InvalidInputError, require
from lr_search.ramp.settings import LEAST_RAMP_STEPS, RampSettings, ramp_steps
from lr_search.samplers.strategies import Pilots, Rung, Strategy
from lr_search.studies.optimizer_side import Side
from lr_search.studies.schedule_layout import ScheduleLayout

MOST_BUDGET = 100_000  # full trainings a study


@dataclass(frozen=True)
class Budget:
    """The budget of a question.

    Args:
        asked: the question.

    Raises:
        InvalidInputError: it does not pay for one full training of each study, or for the pilots of one that has some.
    """

    asked: Question

    def __post_init__(self) -> None:
        budget = self.asked.budget
        good = 0 < budget <= MOST_BUDGET
        require(good, f"budget must be above 0 and at most {MOST_BUDGET:,} full trainings", budget=budget)
        for side in self.asked.sides.values():
            # first those that no budget below one full training pays for
            in_turn = sorted(side.strategies, key=lambda strategy: strategy.pilots is not None)
            for strategy, layout in itertools.product(in_turn, side.layouts.values()):
                has_pilots = strategy.pilots is not None
                if not (self.rungs_of(strategy) if has_pilots else self.trials_of(strategy, layout, side)):
                    raise self._too_small(strategy, layout, side)

    def _too_small(self, strategy: Strategy, layout: ScheduleLayout, side: Side) -> InvalidInputError:
        full, num_steps = layout.training_steps(self._num_steps), self._num_steps
        if strategy.pilots is not None:
            return self._no_pilots(strategy, strategy.pilots)
        need = (full + self.first_steps(strategy, side)) / num_steps
        first = (
            "its probe and " if strategy.probe is not None else "its range test and " if strategy.needs_curves else ""
        )
        return InvalidInputError(
            f"budget must pay for {first}one full training of {full} steps in {strategy.name!r}, "
            f"but got budget={self.asked.budget:g}. Give at least {_up(need)}.{self._shorter(strategy, full)}{self._below_one(side)}"
        )

    def _below_one(self, side: Side) -> str:
        """Why a budget below one full training pays for nothing here."""
        if self.asked.budget >= 1:
            return ""
        own = f" {side.note}." if side.note else ""
        return f"{own} Below one full training only a strategy of shorter ones can search: transfer."

    def _no_pilots(self, strategy: Strategy, pilots: Pilots) -> InvalidInputError:
        rung, num_steps = pilots.rungs[0], self._num_steps
        asked = RampSettings(**self.asked.range_test)
        first, each = self.pilots_after, rung.num_steps(num_steps)
        shortest = math.ceil(first / asked.most_steps() * replace(asked, num_steps=LEAST_RAMP_STEPS).most_steps())
        need, enough = (_up((steps + rung.pilots * each) / num_steps) for steps in (first, shortest))
        shorter = (
            f' Or have a shorter range test (range_test={{"num_steps": {LEAST_RAMP_STEPS}}}): then {enough} is enough.'
        )
        return InvalidInputError(
            f"{strategy.name!r} must have steps for its range test and {rung.pilots} pilots of {each} steps, but got "
            f"{self.asked.budget:g} full trainings of {num_steps} steps. Give at least {need}.{shorter if enough != need else ''}"
        )

    def _shorter(self, strategy: Strategy, full: int) -> str:
        """The offer of a shorter range test, where this one is longer than it need be for such a training."""
        asked, usual = RampSettings(**self.asked.range_test), ramp_steps(None, self._num_steps)
        if not strategy.needs_curves or asked.num_steps <= usual:
            return ""
        steps = self.asked.curves * replace(asked, num_steps=usual).most_steps()
        enough = _up((full + steps) / self._num_steps)
        return f' Or have a shorter range test, of {usual} steps (range_test={{"num_steps": {usual}}}): then {enough} is enough.'

    @property
    def _num_steps(self) -> int:
        return self.asked.workload.num_steps

    @property
    def study_steps(self) -> int:
        """Steps a study may spend."""
        return math.floor(self.asked.budget * self._num_steps + 1e-9)

    @property
    def range_test_steps(self) -> int:
        """Steps the range tests of one optimizer and seed are charged at most, if their ramp is not extended."""
        return self.asked.curves * RampSettings(**self.asked.range_test).most_steps()

    @property
    def _begun(self) -> bool:
        """Whether the range tests move no optimizer's range any more: what follows them has begun."""
        return all(side.settled for side in self.asked.sides.values())

    @property
    def pilots_after(self) -> int:
        """Steps that are kept for range tests before pilots are planned: twice as many where they may go on beyond their range."""
        return self.range_test_steps * (2 if self.asked.range_test.get("extend") else 1)

    def rungs_of(self, strategy: Strategy) -> list[tuple[Rung, int]]:
        """The rungs of pilots that a study of that strategy pays for, and how many pilots of each; a larger budget adds to them."""
        rungs: list[tuple[Rung, int]] = []
        left = self.study_steps - self.pilots_after
        for rung in () if strategy.pilots is None else strategy.pilots.rungs:
            each = rung.num_steps(self._num_steps)
            least = max(1, min(rung.independent, rung.pilots)) if rungs else rung.pilots
            count = min(rung.pilots, max(0, left) // each)
            if not rungs and self._begun and least * each <= self.study_steps - self.range_test_steps:
                count = least  # a larger budget, which let the range test go on, has begun them
            if count < least:
                break
            rungs.append((rung, count))
            left -= count * each
        return rungs

    def trains(self, strategy: Strategy) -> bool:
        """Whether any study of that strategy has a full training."""
        return any(
            strategy.name == each.name and self.trials_of(each, layout, side)
            for side in self.asked.sides.values()
            for each, layout in itertools.product(side.strategies, side.layouts.values())
        )

    def full_from(self, strategy: Strategy) -> str:
        """The budget from which on a study has a full training after all its pilots, in full trainings."""
        rungs = () if strategy.pilots is None else strategy.pilots.rungs
        pilots = sum(rung.pilots * rung.num_steps(self._num_steps) for rung in rungs)
        return _up((self.pilots_after + pilots + self._num_steps) / self._num_steps)

    def first_steps(self, strategy: Strategy, side: Side) -> int:
        """Steps that range tests, a probe or pilots take at most before a study of that strategy and optimizer trains."""
        if strategy.probe is not None:
            return strategy.probe.most_steps(*side.lr_range)
        return (self.range_test_steps if strategy.needs_curves else 0) + self._pilots(strategy)[1]

    def _pilots(self, strategy: Strategy) -> tuple[int, int]:
        """How many pilots a study of that strategy has, and their steps."""
        rungs = self.rungs_of(strategy)
        return sum(count for _, count in rungs), sum(rung.num_steps(self._num_steps) * count for rung, count in rungs)

    def trials_of(self, strategy: Strategy, layout: ScheduleLayout, side: Side) -> int:
        """Full trainings a study of that strategy, schedule and optimizer pays for, if what comes first runs to its end."""
        left = self.study_steps - self.first_steps(strategy, side)
        count = max(0, left // layout.training_steps(self._num_steps))
        return count if strategy.max_trials is None else min(count, strategy.max_trials)

    def total_trials(self) -> int:
        """Trials that are run in all, range tests, probes, pilots and today's included."""
        sides = self.asked.sides.values()
        today = 0 if self.asked.today is None else 1
        return (today + sum(self._searched(side)[0] + self._shared(side)[0] for side in sides)) * len(self.asked.seeds)

    def total_steps(self) -> int:
        """Steps that are taken in all, at most: a range test or probe that studies share is taken once. Today's are among them."""
        sides = self.asked.sides.values()
        today = 0 if self.asked.today is None else self.asked.today.steps
        return (today + sum(self._searched(side)[1] + self._shared(side)[1] for side in sides)) * len(self.asked.seeds)

    def confirm_steps(self, confirm: int) -> int:
        """Steps that the best two, and today's, take to be confirmed. Args: confirm: on how many fresh seeds."""
        if not self._trains:
            return 0
        today = self.asked.today
        return confirm * (2 * self._num_steps + (0 if today is None else today.steps))

    def confirm_trials(self, confirm: int) -> int:
        """How many trainings these are; none where the budget pays for pilots alone, and there will be no best."""
        return self._trains * confirm * (2 if self.asked.today is None else 3)

    @property
    def _trains(self) -> bool:
        """Whether any study has a full training."""
        return any(self.trains(strategy) for side in self.asked.sides.values() for strategy in side.strategies)

    def _searched(self, side: Side) -> tuple[int, int]:
        """Pilots and full trainings with one optimizer and seed, and their steps."""
        trials, steps = 0, 0
        for strategy, layout in itertools.product(side.strategies, side.layouts.values()):
            count = self.trials_of(strategy, layout, side)
            pilots, pilot_steps = self._pilots(strategy)
            trials, steps = trials + count + pilots, steps + pilot_steps
            if strategy.max_trials is None and self.asked.prunes(strategy, layout):
                steps += self.study_steps - self.first_steps(strategy, side)
            else:
                steps += count * layout.training_steps(self._num_steps)
        return trials, steps

    def _shared(self, side: Side) -> tuple[int, int]:
        """Trials and steps of the range tests and probes of one optimizer and seed."""
        ladders = side.ladders
        trials, steps = len(ladders), sum(ladder.most_steps(*side.lr_range) for ladder in ladders)
        if side.needs_curves:
            trials, steps = trials + self.asked.curves, steps + self.range_test_steps
        return trials, steps


def _up(number: float) -> str:
    """Rounded up to hundredths."""
    return f"{math.ceil(number * 100 - 1e-9) / 100:g}"
