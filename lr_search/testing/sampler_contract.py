"""What a comparison needs of a sampler, as a suite that the tests of a sampler inherit."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from lr_search.testing.demands import must

MakeSampler = Callable[[int], BaseSampler]
Row = tuple[Any, ...]
RESTARTS = "Let it depend on (seed, trial number) and the study's trials alone, or give lr_search.samplers.PerTrialSampler its class."
DRAWN = "Draw from a generator of its own, seeded by (seed, trial number)."


class SamplerContract:
    """Inherit it, and say how to make a sampler from a seed. Optuna's own suites can be inherited beside it, and use the same.

    >>> from lr_search.samplers import GridSampler
    >>> from optuna.testing.pytest_samplers import BasicSamplerTestCase
    >>> class TestGridSampler(SamplerContract, BasicSamplerTestCase):
    ...     independent = None  # all points depend on the seed and the trial's number alone
    ...
    ...     @pytest.fixture
    ...     def make_sampler(self):
    ...         return lambda seed: GridSampler(8, seed=seed)

    Attributes:
        param: the name of the LR.
        lr_range: (low, high) that it is suggested from.
        independent: how many of the first LRs depend on the seed and the trial's number alone; None: all.
    """

    param: ClassVar[str] = "lr"
    lr_range: ClassVar[tuple[float, float]] = (1e-5, 10.0)
    independent: ClassVar[int | None] = 0

    @pytest.fixture
    def make_sampler(self) -> MakeSampler:
        """Seed -> the sampler under test, a new one."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture `make_sampler`.")

    @pytest.fixture
    def sampler(self, make_sampler: MakeSampler) -> Callable[[], BaseSampler]:
        """What Optuna's suites ask for."""
        return partial(make_sampler, 0)

    def test_every_parameter_of_every_trial_is_inside_its_range(self, make_sampler: MakeSampler) -> None:
        """The LR, and every other kind of parameter beside it."""
        study = optuna.create_study(sampler=make_sampler(3))
        self._run(study, 24)
        for trial in study.trials:
            for name, distribution in trial.distributions.items():
                value = trial.params[name]
                inside = distribution._contains(distribution.to_internal_repr(value))
                rule = "a sampler must keep every parameter inside its distribution"
                must(inside, rule, "Use what it is given, not the study's first.", **{name: value}, it=distribution)
                whole = isinstance(distribution, optuna.distributions.IntDistribution)
                must(not whole or type(value) is int, "a whole number must be Python's int", **{name: value})
            low, high = self.lr_range
            lr = trial.params[self.param]
            must(low <= lr <= high, "a sampler must keep the LR inside its range", lr=lr, low=low, high=high)

    def test_a_seed_always_gives_the_same_points(self, make_sampler: MakeSampler) -> None:
        """Whatever else draws from Python's and NumPy's global generators."""
        found = self._asked(make_sampler(1), 12)
        random.random()
        np.random.random()  # noqa: NPY002
        again = self._asked(make_sampler(1), 12)
        must(found == again, "the same seed must give the same points", DRAWN, first=found[-1], then=again[-1])

    def test_pickling_and_reseeding_change_no_point(self, make_sampler: MakeSampler) -> None:
        """It is sent to workers, and Optuna reseeds samplers where there are several."""
        sampler = pickle.loads(pickle.dumps(make_sampler(1)))
        sampler.reseed_rng()
        found, wanted = self._asked(sampler, 6), self._asked(make_sampler(1), 6)
        must(found == wanted, "pickling and reseed_rng() must change no point", DRAWN, found=found, wanted=wanted)

    @pytest.mark.parametrize("counts", [(5, 4), (1,) * 9], ids=["once", "every trial"])
    def test_a_restart_goes_on_as_an_undisturbed_study(
        self, make_sampler: MakeSampler, counts: tuple[int, ...]
    ) -> None:
        """A new sampler on the same storage repeats no point and skips none."""
        storage, found = optuna.storages.InMemoryStorage(), []
        for count in counts:
            study = optuna.create_study(storage=storage, study_name="a", sampler=make_sampler(7), load_if_exists=True)
            found += self._run(study, count)
        wanted = self._asked(make_sampler(7), sum(counts))
        rule = "a new sampler on the same storage must go on as an undisturbed study does"
        must(found == wanted, rule, RESTARTS, found=_lrs(found), wanted=_lrs(wanted))

    def test_two_workers_on_one_storage_give_the_points_of_one(self, make_sampler: MakeSampler) -> None:
        """Each has a sampler of its own; they take turns."""
        storage, found = optuna.storages.InMemoryStorage(), []
        options: dict[str, Any] = {"storage": storage, "study_name": "a", "load_if_exists": True}
        workers = [optuna.create_study(sampler=make_sampler(4), **options) for _ in range(2)]
        for number in range(8):
            found += self._run(workers[number % 2], 1)
        wanted = self._asked(make_sampler(4), 8)
        rule = "two workers on one storage must give the points of one"
        must(found == wanted, rule, RESTARTS, found=_lrs(found), wanted=_lrs(wanted))

    def test_trials_that_run_side_by_side_have_the_points_of_their_numbers(self, make_sampler: MakeSampler) -> None:
        """As far as the sampler says that they depend on no result, in whatever order they are suggested."""
        study = optuna.create_study(sampler=make_sampler(5))
        trials = [study.ask() for _ in range(6)]
        found = [self._suggest(trial)[0] for trial in reversed(trials)][::-1]
        count = 6 if self.independent is None else min(6, self.independent)
        wanted = [row[0] for row in self._asked(make_sampler(5), 6)]
        rule = f"the first {count} LRs must depend on the seed and the trial's number alone, as `independent` says"
        must(found[:count] == wanted[:count], rule, "Or say a lower number.", found=found, wanted=wanted)
        low, high = self.lr_range
        must(all(low <= lr <= high for lr in found), "a sampler must keep the LR inside its range", found=found)

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    def test_it_goes_on_after_trials_that_diverged_failed_or_were_pruned(
        self, make_sampler: MakeSampler, direction: Literal["minimize", "maximize"]
    ) -> None:
        """Divergence is a complete trial with the worst value: inf, or -inf."""
        study = optuna.create_study(sampler=make_sampler(6), direction=direction)
        worst = math.inf if direction == "minimize" else -math.inf
        for number in range(16):
            trial = study.ask()
            lr = self._suggest(trial)[0]
            low, high = self.lr_range
            must(low <= lr <= high, "a sampler must keep the LR inside its range", number=number, lr=lr)
            trial.report(worst if number % 4 == 1 else _value(lr), step=1)
            states = (None, None, TrialState.FAIL, TrialState.PRUNED)
            values = (_value(lr), worst, None, None)
            study.tell(trial, values[number % 4], state=states[number % 4])

    def _suggest(self, trial: optuna.Trial) -> Row:
        """The LR, and every other kind of parameter beside it."""
        return (
            trial.suggest_float(self.param, *self.lr_range, log=True),
            trial.suggest_int("width", 1, 1000, log=True),
            trial.suggest_int("layers", 1, 4),
            trial.suggest_int("batch", 0, 10, step=5),
            trial.suggest_categorical("kind", ["relu", "gelu", "tanh"]),
            trial.suggest_float("dropout", 0.0, 0.5, step=0.25),
            trial.suggest_float("decay", 0.0, 0.1),
        )

    def _run(self, study: optuna.Study, count: int) -> list[Row]:
        """So many trials, one after the other, whose best LR is 0.03."""
        rows = []
        for _ in range(count):
            trial = study.ask()
            rows.append(self._suggest(trial))
            study.tell(trial, _value(rows[-1][0]))
        return rows

    def _asked(self, sampler: BaseSampler, count: int) -> list[Row]:
        return self._run(optuna.create_study(sampler=sampler), count)


def _value(lr: float) -> float:
    return math.log10(lr / 0.03) ** 2 if lr > 0 else math.inf


def _lrs(rows: list[Row]) -> list[float]:
    return [row[0] for row in rows]
