"""Reports a training to its trial, evaluation by evaluation, and prunes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import optuna
from optuna.trial import BaseTrial

from lr_search.errors import InvalidInputError, require, unknown_name
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import NumSteps
from lr_search.training.evaluation import Evaluation
from lr_search.training.training import Training
from lr_search_optuna.checks import require_direction

DIVERGED = "diverged"  # the trial attribute that says why


@checked
def report_evaluations(
    trial: BaseTrial,
    evaluations: Iterable[Evaluation],
    objective: str | None = None,
    *,
    num_steps: NumSteps | None = None,
) -> float:
    """Run a training to its end, or until the pruner ends it; the last line of an objective.

    Every evaluation is reported at its step, but for the one at step 0, which shows nothing yet. `lr_search.train` evaluates
    cyclic schedules at their cycles' ends, where losses can be compared; a loop of your own should do so too. No trial is
    pruned at its last step, which has been paid for. A training that diverges ends with the worst value; the trial's user
    attribute "diverged" says why.

    Args:
        trial: Optuna's.
        evaluations: what `lr_search.train` returns, or any iterable of `Evaluation`s with rising steps: a generator around
            a loop of your own. It is closed at the end, whatever happens.
        objective: the metric that is reported; default: the workload's objective, or "loss".
        num_steps: the last step; default: that of the training's workload. Where neither is known, a training that is pruned
            goes on to its next evaluation first, to see whether there is one.

    Returns:
        The objective at the end; inf (-inf to maximize) where it diverged.

    Raises:
        optuna.TrialPruned: the pruner ended it.
        UnknownNameError: the evaluations have no such metric; the message has the nearest.
        InvalidInputError: there is no evaluation, or the study's direction is not the workload's.

    >>> from lr_search import Evaluation
    >>> study = optuna.create_study()
    >>> trial = study.ask()
    >>> evaluations = (Evaluation(step, 0.1, 1.0, {"loss": 1 / (1 + step)}) for step in (0, 1, 3))
    >>> study.tell(trial, report_evaluations(trial, evaluations)).intermediate_values
    {1: 0.5, 3: 0.25}
    """
    training = evaluations if isinstance(evaluations, Training) else None
    if training is not None:
        objective = objective or training.workload.objective
        num_steps = training.workload.num_steps
        if isinstance(trial, optuna.Trial) and objective == training.workload.objective:
            require_direction(trial.study, training.workload.direction)
    try:
        last = _reported(trial, iter(evaluations), objective or "loss", num_steps)
    finally:
        if hasattr(evaluations, "close"):
            evaluations.close()
    if training is not None and training.stopped == "diverged":
        return _diverged(trial, training, training.reason)
    if not math.isfinite(last[1]):
        return _diverged(trial, training, f"{objective or 'loss'} was {last[1]} at step {last[0]}")
    return last[1]


def _reported(trial: BaseTrial, evaluations: Iterator[Evaluation], name: str, end: int | None) -> tuple[int, float]:
    """Report to the end. Returns: the last step and value. Raises: TrialPruned."""
    last: tuple[int, float] | None = None
    for evaluation in evaluations:
        require(isinstance(evaluation, Evaluation), "evaluations must be of lr_search.Evaluation", got=evaluation)
        last = evaluation.step, _value(evaluation, name)
        if not evaluation.step:
            continue
        trial.report(last[1], evaluation.step)
        if evaluation.step != end and trial.should_prune() and not _was_last(evaluations, end):
            raise optuna.TrialPruned(f"pruned after step {evaluation.step}")
    if last is None:
        raise InvalidInputError("A training must yield at least one Evaluation, but got none. Yield one at its end.")
    return last


def _was_last(evaluations: Iterator[Evaluation], end: int | None) -> bool:
    return end is None and next(evaluations, None) is None


def _value(evaluation: Evaluation, name: str) -> float:
    if name not in evaluation.metrics:
        raise unknown_name("objective", name, evaluation.metrics)
    return float(evaluation.metrics[name])


def _diverged(trial: BaseTrial, training: Training | None, reason: str) -> float:
    """The worst value there is, which the study records; the reason is kept as an attribute of the trial."""
    trial.set_user_attr(DIVERGED, reason)
    if isinstance(trial, optuna.Trial):
        maximize = trial.study.direction == optuna.study.StudyDirection.MAXIMIZE
    else:
        maximize = training is not None and training.workload.direction == "maximize"
    return -math.inf if maximize else math.inf
