"""Strategies: named ways to search, each a sampler plus what it needs first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import optuna

from lr_search.curves.prior import LRPrior
from lr_search.curves.probe import Ladder
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.samplers.fixed_sampler import FixedSampler
from lr_search.samplers.grid_sampler import GridSampler
from lr_search.samplers.handover import HandoverSampler
from lr_search.samplers.one_epoch import OneEpochPruner, OneEpochSampler
from lr_search.samplers.one_epoch import first_round as one_epoch_round
from lr_search.samplers.per_trial import PerTrialSampler
from lr_search.samplers.probe_sampler import ProbeSampler
from lr_search.samplers.random_sampler import RandomSampler
from lr_search.samplers.range_test_sampler import PRIOR_POINTS, RangeTestSampler

PARAM = "lr"


@dataclass(frozen=True)
class PilotResult:
    """What a pilot came to: a whole training, shorter than the one whose LR is sought.

    Args:
        lr: the (peak) LR.
        value: the objective at its end, lower is better (negative where the study maximizes); inf where it diverged.
        num_steps: its length in optimizer steps.
        untrained: the objective at step 0, on the scale of `value`; nan where that is not known.
    """

    lr: float
    value: float
    num_steps: int
    untrained: float = math.nan


@dataclass(frozen=True)
class Search:
    """What a strategy makes a sampler from.

    Args:
        seed: the study's.
        num_trials: full trainings the study can pay for.
        prior: what the range tests found, for a strategy that needs them.
        largest_lr: the largest usable LR that a probe found, for a strategy that needs it; None where there was none.
        default_lr: the optimizer's own default LR, for a strategy that needs it.
        trial_steps: what a full training is charged at most.
        epoch_end: the first step after a pass over the data at which trials are evaluated (for a cyclic schedule: a cycle's
            end); None where that is the training's end.
        epoch_steps: what a trial is charged at most that is cut there; None where that is the training's end.
        num_steps: of each of the study's trainings: of a pilot, in a study of pilots.
        target_steps: of a full training.
        steps_per_epoch: in one pass over the training data; None where that is not known.
        schedule: the name that the schedule is laid out by; empty for a user's own.
        pilots: what the strategy's pilots came to before this study began.
    """

    seed: Seed
    num_trials: int
    prior: LRPrior | None = None
    largest_lr: float | None = None
    default_lr: float | None = None
    trial_steps: int = 1
    epoch_end: int | None = None
    epoch_steps: int | None = None
    num_steps: int = 1
    target_steps: int = 1
    steps_per_epoch: float | None = None
    schedule: str = ""
    pilots: Sequence[PilotResult] = ()


@checked
@dataclass(frozen=True)
class Rung:
    """Pilots of one length.

    Args:
        share: their length as a share of a full training's, in (0, 1).
        pilots: how many, >= 1.
        independent: how many of them may run side by side from the first on, since their LRs depend on no results.
    """

    share: float
    pilots: int
    independent: int = 0

    def __post_init__(self) -> None:
        require(0 < self.share < 1, "share must be above 0 and below 1", share=self.share)
        require(self.pilots >= 1, "pilots must be at least 1", pilots=self.pilots)
        require(self.independent >= 0, "independent must be at least 0", independent=self.independent)

    def num_steps(self, target_steps: int) -> int:
        """Steps of each pilot. Args: target_steps: of a full training."""
        return math.floor(self.share * target_steps)


@checked
@dataclass(frozen=True)
class Pilots:
    """Whole, shorter trainings under the target's own schedule that come before a strategy's full ones.

    Args:
        rungs: from the first on, as many as the budget pays for: the first whole, of the others as many pilots as are paid for, but no
            fewer than may run side by side.
        sampler: Search -> the sampler of a rung's pilots; the search's prior is the range tests'.
        prior: Search -> the prior at the full length, from the range tests' and the pilots.
        shortest: steps of a pilot, at least.
    """

    rungs: Sequence[Rung]
    sampler: Callable[[Search], optuna.samplers.BaseSampler]
    prior: Callable[[Search], LRPrior]
    shortest: int = 1

    def __post_init__(self) -> None:
        shares = [rung.share for rung in self.rungs]
        rising = all(one < other for one, other in pairwise(shares))
        require(
            len(shares) > 0 and rising, "rungs must be at least one, from the shortest to the longest", shares=shares
        )
        require(self.shortest >= 1, "shortest must be at least 1", shortest=self.shortest)


@checked
@dataclass(frozen=True)
class Strategy:
    """A named way to search.

    Args:
        name: for tables and figures.
        sampler: Search -> the study's sampler.
        describe: one line: how it searches.
        needs_curves: whether range tests come first; they are charged to its studies.
        independent: how many of a study's first trials may run side by side, since their points depend on no results; None: all.
        max_trials: the most trials a study makes sense for, or None.
        settings: what distinguishes this strategy from another of the same name, for the fingerprint.
        fixed_lr: the one LR it tries, where that is so.
        probe: the ladder of LRs that is probed first, charged to its studies; None for no probe.
        needs_default: whether it needs the optimizer's own default LR, which may lie outside the range that is searched.
        pruner: Search -> a pruner of its own, which wins over the comparison's; None for none.
        first_round: Search -> how many trials must have ended before any further one begins; None for no such round.
        pilots: shorter trainings that come after the range tests and are charged to its studies, which a budget below one full
            training pays for; None for no pilots. The search's prior is then what they tell.
    """

    name: str
    sampler: Callable[[Search], optuna.samplers.BaseSampler]
    describe: str = ""
    needs_curves: bool = False
    independent: int | None = 0
    max_trials: int | None = None
    settings: str = ""
    fixed_lr: float | None = None
    probe: Ladder | None = None
    needs_default: bool = False
    pruner: Callable[[Search], optuna.pruners.BasePruner] | None = None
    first_round: Callable[[Search], int] | None = None
    pilots: Pilots | None = None

    def __post_init__(self) -> None:
        both = self.needs_curves and self.probe is not None
        require(not both, "a strategy takes range tests first, or a probe, not both", name=self.name)
        rule = "a strategy with pilots needs range tests first"
        require(self.pilots is None or self.needs_curves, rule, needs_curves=self.needs_curves)

    def of_rung(self, rung: Rung, count: int) -> Strategy:
        """How the pilots of one rung are placed. Args: count: how many the budget pays for."""
        assert self.pilots is not None
        return Strategy(
            self.name,
            self.pilots.sampler,
            needs_curves=True,
            independent=rung.independent,
            max_trials=count,
            settings=f"pilots of {rung.share:g} of a training",
        )


def _grid_sampler(search: Search) -> GridSampler:
    return GridSampler(search.num_trials, param=PARAM, seed=search.seed)


def _random_sampler(search: Search) -> RandomSampler:
    return RandomSampler(param=PARAM, seed=search.seed)


def _range_test_sampler(search: Search) -> RangeTestSampler:
    assert search.prior is not None
    return RangeTestSampler(search.prior, PARAM, seed=search.seed)


def _probe_sampler(search: Search) -> ProbeSampler:
    return ProbeSampler(search.largest_lr, PARAM, seed=search.seed)


def _tpe_sampler(search: Search) -> PerTrialSampler:
    return PerTrialSampler(optuna.samplers.TPESampler, seed=search.seed)


def _tpe_range_test_sampler(search: Search) -> HandoverSampler:
    # TPE draws at random until it has n_startup_trials results: the prior's points stand for those
    tpe = partial(optuna.samplers.TPESampler, n_startup_trials=PRIOR_POINTS)
    return HandoverSampler(_range_test_sampler(search), PerTrialSampler(tpe, seed=search.seed), PRIOR_POINTS)


def _one_epoch_round(search: Search) -> int:
    return one_epoch_round(search.num_trials, search.trial_steps, search.epoch_steps)


def _one_epoch_sampler(search: Search) -> GridSampler:
    num_first = _one_epoch_round(search)
    return OneEpochSampler(num_first, param=PARAM, seed=search.seed) if num_first else _grid_sampler(search)


def _one_epoch_pruner(search: Search) -> OneEpochPruner:
    return OneEpochPruner(search.epoch_end or 1, _one_epoch_round(search))


def _default_sampler(search: Search) -> FixedSampler:
    assert search.default_lr is not None
    return FixedSampler(search.default_lr, PARAM, seed=search.seed)


grid = Strategy(
    "grid",
    _grid_sampler,
    "as many equal log steps as the budget pays for, phase from the seed, coarse to fine",
    independent=None,
)
random = Strategy("random", _random_sampler, "log-uniform draws (Bergstra and Bengio 2012)", independent=None)
range_test = Strategy(
    "range_test",
    _range_test_sampler,
    "a range test first (Smith 2017), then 3 points of its prior, then expected improvement x prior (piBO 2022)",
    needs_curves=True,
    independent=PRIOR_POINTS,
)
probe = Strategy(
    "probe",
    _probe_sampler,
    "ever lower LRs until the loss falls in 10 steps, then one to two orders of magnitude below that, then outward",
    independent=None,
    probe=Ladder(),
)
tpe = Strategy("tpe", _tpe_sampler, "Optuna's TPE as it comes (Bergstra et al. 2011): its first 10 points are random")
tpe_range_test = Strategy(
    "tpe+range_test",
    _tpe_range_test_sampler,
    f"a range test first, then {PRIOR_POINTS} points of its prior, then Optuna's TPE over the whole range",
    needs_curves=True,
    independent=PRIOR_POINTS,
)
one_epoch = Strategy(
    "one_epoch",
    _one_epoch_sampler,
    "a grid trained for one epoch, then the best 1 to 3 of it in full (Egele et al. 2023)",
    independent=None,  # but for the first round, which the rest waits for
    pruner=_one_epoch_pruner,
    first_round=_one_epoch_round,
)
defaults = Strategy(
    "defaults",
    _default_sampler,
    "one training at the optimizer's own default LR: the promise of no tuning",
    independent=None,
    max_trials=1,
    needs_default=True,
)
