"""What every strategy must do, as a suite that the tests of a strategy inherit; its trainings take milliseconds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler

from lr_search.comparison.loading import load
from lr_search.curves.prior import LRPrior
from lr_search.samplers.strategies import PARAM, Search, Strategy
from lr_search.samplers.strategy_names import resolve_strategies
from lr_search.testing.demands import must
from lr_search.testing.line_workload import line_workload
from lr_search.testing.small_comparisons import BEYOND, STEPS, compared, require_same

LENGTH = 2 * STEPS  # of a training: a probe takes some 100 steps
OF_THE_SEARCH = "Make the sampler of what Search holds: its seed, num_trials, prior, ...."


def length_for(strategy: Strategy) -> int:
    """Steps of a training that its pilots, if it has any, can be a part of."""
    pilots = strategy.pilots
    return LENGTH if pilots is None else math.ceil(pilots.shortest / pilots.rungs[0].share)


class StrategyContract:
    """Inherit it, and say which strategy. Its sampler has a contract too: `SamplerContract`.

    >>> from lr_search.samplers import Strategy
    >>> from lr_search.samplers.strategies import grid
    >>> class TestGrid(StrategyContract):
    ...     @pytest.fixture
    ...     def strategy(self) -> Strategy:
    ...         return grid

    Attributes:
        lr_range: (low, high) of its searches.
        num_trials: full trainings that a study can pay for.
        budget: of its comparisons, in full trainings.
    """

    lr_range: ClassVar[tuple[float, float]] = (1e-5, 10.0)
    num_trials: ClassVar[int] = 6
    budget: ClassVar[float] = 3

    @pytest.fixture
    def strategy(self) -> Strategy:
        """The strategy under test."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture `strategy`.")

    def search(self, seed: int = 0) -> Search:
        """A search that holds all that a strategy may need."""
        low, high = self.lr_range
        prior = LRPrior(low=low, high=high, mode=math.sqrt(low * high), log10_std=0.6)
        return Search(
            seed, self.num_trials, prior, largest_lr=0.5, default_lr=0.01, trial_steps=STEPS, epoch_end=10, epoch_steps=10
        )  # fmt: skip

    # what it declares

    def test_what_it_declares_can_be(self, strategy: Strategy) -> None:
        """A name without a slash, a line of words, numbers that count something."""
        must(isinstance(strategy, Strategy), "a strategy must be a lr_search.samplers.Strategy", got=strategy)
        (resolved,) = resolve_strategies([strategy])
        must(resolved is strategy, "compare() must take the strategy as it is", got=resolved)
        words = strategy.describe
        must(bool(words.strip()) and "\n" not in words, "describe must be one line, not empty", got=words)
        first = strategy.independent
        must(first is None or first >= 0, "independent must be at least 0, or None for all", independent=first)
        most = strategy.max_trials
        must(most is None or most >= 1, "max_trials must be at least 1, or None", max_trials=most)
        lr = strategy.fixed_lr
        must(lr is None or 0 < lr < math.inf, "fixed_lr must be positive and finite, or None", fixed_lr=lr)

    def test_each_study_gets_a_sampler_of_its_own(self, strategy: Strategy) -> None:
        """One for all would make each study depend on which ran before."""
        one, other = strategy.sampler(self.search()), strategy.sampler(self.search())
        for each in (one, other):
            must(isinstance(each, BaseSampler), "a strategy must make an Optuna sampler", OF_THE_SEARCH, got=each)
        must(one is not other, "each study must get a sampler of its own", "Make it within the function.", got=one)

    def test_its_first_round_is_paid_for(self, strategy: Strategy) -> None:
        """What must have ended before any further trial begins cannot cost more than there is."""
        search = self.search()
        rounds = 0 if strategy.first_round is None else strategy.first_round(search)
        cost, paid = rounds * (search.epoch_steps or STEPS), search.num_trials * search.trial_steps
        rule = "the first round must be a number of trials, at least 0, that the budget pays for"
        must(0 <= cost <= paid, rule, "Count search.epoch_steps a trial.", first_round=rounds, cost=cost, budget=paid)
        if strategy.pruner is not None:
            pruner = strategy.pruner(search)
            must(isinstance(pruner, optuna.pruners.BasePruner), "its pruner must be Optuna's", got=pruner)

    # points

    def test_the_same_seed_gives_the_same_points_inside_the_range(self, strategy: Strategy) -> None:
        """So that a comparison can be repeated."""
        found, again = (self._points(strategy, 12) for _ in range(2))
        must(found == again, "the same seed must give the same points", OF_THE_SEARCH, first=found, then=again)
        low, high = self.lr_range
        inside = all(low <= lr <= high for lr in found)
        must(inside, "a strategy must keep the LR inside the range", low=low, high=high, points=found)
        lr = self.search().default_lr if strategy.needs_default else strategy.fixed_lr
        must(lr is None or set(found) == {lr}, "it must try the one LR that it says", says=lr, points=found)

    def test_the_points_that_it_says_are_independent_depend_on_no_result(self, strategy: Strategy) -> None:
        """Executors run those side by side."""
        count = 12 if strategy.independent is None else min(12, strategy.independent)
        if strategy.first_round is not None:
            count = min(count, strategy.first_round(self.search()))  # the rest waits for all of that
        found, upside_down = (self._points(strategy, 12, sign)[:count] for sign in (1, -1))
        rule = f"the first {count} points must depend on no result, as `independent` says"
        must(found == upside_down, rule, "Say a lower number.", found=found, under_other_results=upside_down)

    def test_a_restart_goes_on_as_an_undisturbed_study(self, strategy: Strategy) -> None:
        """A new sampler on the same storage, after a kill."""
        storage = optuna.storages.InMemoryStorage()
        for count in (4, 5):
            sampler = strategy.sampler(self.search())
            study = optuna.create_study(storage=storage, study_name="a", sampler=sampler, load_if_exists=True)
            self._tell(study, count)
        found, wanted = [trial.params[PARAM] for trial in study.trials], self._points(strategy, 9)
        remedy = "A sampler of Optuna's: lr_search.samplers.PerTrialSampler(its class, seed=search.seed)."
        must(found == wanted, "a restart must go on as an undisturbed study does", remedy, found=found, wanted=wanted)

    # comparisons

    def test_in_a_comparison_the_budget_holds_and_all_is_charged(self, strategy: Strategy) -> None:
        """Range tests, probes and pilots too; and without a pruner there are as many trials as the budget pays for."""
        comparison = self._compared(strategy)
        length = length_for(strategy)
        trials, budget = comparison.trials, self.budget * length
        must(len(trials) >= 1, "a comparison must have a trial", trials=len(trials))
        failed = trials[trials["outcome"] == "failed"]
        must(failed.empty, "no trial must fail for the strategy", trials=failed.to_dict("records"))
        charged = trials["steps_charged"].to_numpy()
        must(
            charged.max() <= budget, "a study must not spend more than its budget", charged=charged.max(), budget=budget
        )
        first = charged[0] - trials["steps"].iloc[0]
        rule = "every step must be charged, those of a range test, probe or pilots before the first trial's"
        must(np.array_equal(charged, first + trials["steps"].cumsum()), rule, charged=charged.tolist())
        before = strategy.needs_curves or strategy.probe is not None
        must((first > 0) == before, "what comes first must be charged, and nothing else", first=first)
        if strategy.pruner is None:
            fit = int((budget - first) // length)
            wanted = fit if strategy.max_trials is None else min(fit, strategy.max_trials)
            must(len(trials) == wanted, "the budget must be spent on full trainings", trials=len(trials), wanted=wanted)
        self._require_inside(strategy, trials["lr"].tolist())

    def test_a_comparison_is_repeated_kept_and_gone_on_with_to_the_bit(
        self, strategy: Strategy, tmp_path: Path
    ) -> None:
        """Two storages, one in memory; read back, and called again."""
        storage = f"sqlite:///{tmp_path / 'strategy.db'}"
        kept = self._compared(strategy, storage=storage)
        require_same(kept, self._compared(strategy), rule="the same comparison must find the same again")
        require_same(load(storage), kept, rule="what is read back must be what was found")
        again = self._compared(strategy, storage=storage).trials
        must(again.equals(kept.trials), "a second call must train nothing", found=len(again), before=len(kept.trials))

    def _compared(self, strategy: Strategy, **settings: Any) -> Any:
        workload = line_workload(num_steps=length_for(strategy))
        return compared(workload, strategies=[strategy], budget=self.budget, **BEYOND, **settings)

    def _require_inside(self, strategy: Strategy, lrs: list[float]) -> None:
        low, high = BEYOND["lr_range"]
        named = strategy.fixed_lr is not None or strategy.needs_default
        must(named or all(low <= lr <= high for lr in lrs), "LRs must lie in lr_range", low=low, high=high, lrs=lrs)

    def _points(self, strategy: Strategy, count: int, sign: int = 1) -> list[float]:
        """The LRs of so many trials, whose best is 0.03; with the sign -1, that is the worst."""
        study = optuna.create_study(sampler=strategy.sampler(self.search()))
        self._tell(study, count, sign)
        return [trial.params[PARAM] for trial in study.trials]

    def _tell(self, study: optuna.Study, count: int, sign: int = 1) -> None:
        low, high = self.lr_range
        for _ in range(count):
            trial = study.ask()
            lr = trial.suggest_float(PARAM, low, high, log=True)
            study.tell(trial, sign * math.log10(lr / 0.03) ** 2 if lr > 0 else math.inf)
