"""What a study's trials show of one parameter: its values and their objectives, lower is better."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from optuna.distributions import FloatDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lr_search.arrays import FloatArray

MANY_RESULTS = 100
SAME_RESULTS = 0.05  # decades


@dataclass(frozen=True)
class Results:
    """The trials of a study that have a value of one log-scaled float.

    Args:
        places: log10 of the parameter in each finished trial, (n,).
        values: the objectives, (n,); negative where the study maximizes; inf for a training that diverged. Of a pruned one, the worst that
            those before it at the step it was pruned came to.
        pending: log10 of the parameter in each trial that runs, (m,).
        mixed: whether other parameters change from trial to trial.
    """

    places: FloatArray
    values: FloatArray
    pending: FloatArray
    mixed: bool = False


def results_of(study: Study, param: str, *, without: int | None = None) -> Results:
    """Read a study's trials.

    Of more than a hundred, those that nearly coincide are one: the best of them.

    Args:
        study: of one objective.
        param: the parameter's name.
        without: the number of a trial that is left out.
    """
    sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
    # of the storage: Hyperband's bracket studies show a part of the trials
    everything = study._storage.get_all_trials(study._study_id, deepcopy=False)
    trials = [trial for trial in everything if trial.number != without and _is_log_float(trial, param)]
    expected = _Expected([t for t in trials if t.state == TrialState.COMPLETE], sign)
    finished: list[tuple[float, float]] = []
    for trial in trials:
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            finished.append((_place(trial, param), sign * trial.value))
        elif trial.state == TrialState.PRUNED:
            finished.append((_place(trial, param), expected(trial)))
    if len(finished) > MANY_RESULTS:
        best = {
            round(place / SAME_RESULTS): (place, value) for place, value in sorted(finished, key=lambda pair: -pair[1])
        }
        finished = list(best.values())
    places, values = np.array(finished).reshape(-1, 2).T
    pending = [_place(trial, param) for trial in trials if trial.state == TrialState.RUNNING]
    return Results(places, values, np.array(pending), any(len(trial.params) > 1 for trial in trials))


class _Expected:
    """What a pruned trial would have come to, had it stayed behind those it was behind when it was pruned.

    Args:
        complete: the complete trials.
        sign: 1 where lower is better, -1 where higher is.
    """

    def __init__(self, complete: Sequence[FrozenTrial], sign: float) -> None:
        self._complete, self._sign = complete, sign
        self._at: dict[int, tuple[list[float], list[float]]] = {}

    def __call__(self, pruned: FrozenTrial) -> float:
        step = pruned.last_step
        if step is None:
            return math.inf
        if step not in self._at:
            self._at[step] = self._read(step)
        reported, worst = self._at[step]
        ahead = bisect_right(reported, self._sign * pruned.intermediate_values[step])
        return worst[ahead - 1] if ahead else math.inf

    def _read(self, step: int) -> tuple[list[float], list[float]]:
        """What was reported at a step, best first, and the worst end of all up to each."""
        rows = sorted(
            (self._sign * trial.intermediate_values[step], self._sign * trial.value)
            for trial in self._complete
            if step in trial.intermediate_values and trial.value is not None
        )
        return [reported for reported, _ in rows], list(accumulate((value for _, value in rows), max))


def _place(trial: FrozenTrial, param: str) -> float:
    return math.log10(trial.params[param])


def _is_log_float(trial: FrozenTrial, param: str) -> bool:
    distribution = trial.distributions.get(param)
    return isinstance(distribution, FloatDistribution) and distribution.log
