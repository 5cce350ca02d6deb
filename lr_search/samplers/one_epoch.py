"""The 1-epoch baseline: many trials for one epoch each, then the best of them in full."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lr_search.errors import require
from lr_search.samplers.grid_sampler import GridSampler

MOST_IN_FULL = 3


def first_round(num_trials: int, full_steps: int, epoch_steps: int | None) -> int:
    """How many trials N are trained for one epoch.

    K = half of the full trainings that the budget pays for, at least 1 and at most 3, are kept for the best; the rest of the
    budget goes into the first round: N = (num_trials - K) * full_steps / epoch_steps, rounded down. What the first round
    leaves, since some trials diverge before their epoch ends, trains the next best in full.

    Args:
        num_trials: full trainings that the budget pays for, >= 1.
        full_steps: what one of them is charged.
        epoch_steps: what a trial is charged that is cut after an epoch; None where the training is no longer than that.

    Returns:
        N; 0 where it would be no more than K, so that there is nothing to choose from: then all are trained in full.

    >>> first_round(num_trials=8, full_steps=300, epoch_steps=30), first_round(4, 300, 100), first_round(2, 300, 300)
    (50, 6, 0)
    """
    in_full = min(MOST_IN_FULL, max(1, num_trials // 2))
    num_first = 0 if epoch_steps is None else (num_trials - in_full) * full_steps // epoch_steps
    return num_first if num_first > in_full else 0


class OneEpochSampler(GridSampler):
    """The points of a grid for the first `num_first` trials, then the best of those again, best first.

    The best are found in the study alone: the trials of the first round that were pruned, by the value they had then. So all
    of the first round must have ended before the next trial is asked for. After the last of them the grid goes on.

    Args:
        num_first: trials in the first round, >= 1; the grid has as many steps.
        param: the name of the LR. The best get their other parameters again too.
        seed: of the grid's phase, >= 0.

    Reference:
        Romain Egele, Isabelle Guyon, Yixuan Sun and Prasanna Balaprakash, "Is One Epoch All You Need For Multi-Fidelity
        Hyperparameter Optimization?", 2023, arXiv:2307.15422.

    >>> import optuna
    >>> study = optuna.create_study(sampler=OneEpochSampler(num_first=2), pruner=OneEpochPruner(step=1, num_first=2))
    >>> for _ in range(3):
    ...     trial = study.ask()
    ...     loss = abs(trial.suggest_float("lr", 1e-4, 1.0, log=True) - 0.5)
    ...     trial.report(loss, step=1)
    ...     _ = study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    >>> [first, second, best] = [trial.params["lr"] for trial in study.trials]
    >>> best == max(first, second)
    True
    """

    def __init__(self, num_first: int, *, param: str = "lr", seed: int = 0) -> None:
        require(num_first >= 1, "num_first must be at least 1", num_first=num_first)
        super().__init__(num_first, param=param, seed=seed)
        self.num_first = num_first

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See the class."""
        if trial.number >= self.num_first:
            ranked = self._ranked(study)
            place = trial.number - self.num_first
            if place < len(ranked) and param_name in ranked[place].params:
                return ranked[place].params[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)

    def _ranked(self, study: Study) -> list[FrozenTrial]:
        """The trials of the first round that came to its end, best first."""
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False, states=(TrialState.PRUNED,))
        sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
        first = [(sign * t.values[0], t.number, t) for t in trials if t.number < self.num_first and t.values]
        return [trial for _, _, trial in sorted(first)]


class OneEpochPruner(BasePruner):
    """Cuts the first `num_first` trials of a study at their first report at or after a step, and no other.

    Args:
        step: at which an epoch is over, >= 1.
        num_first: trials in the first round, as passed to `OneEpochSampler`.
    """

    def __init__(self, step: int, num_first: int) -> None:
        require(step >= 1, "step must be at least 1", step=step)
        self._step, self._num_first = step, num_first

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """See the class."""
        last = trial.last_step
        return last is not None and last >= self._step and trial.number < self._num_first
