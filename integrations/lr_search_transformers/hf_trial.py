"""One trial: a Trainer of its own that trains under the run's schedule, reports to it, and leaves nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from lr_search.curves.curve import LRCurve
from lr_search.curves.training_plan import Plan
from lr_search.errors import WorkloadError
from lr_search.ramp.settings import RampSettings
from lr_search.rng import preserved_rng
from lr_search_transformers.hf_batches import loaders_forgotten
from lr_search_transformers.hf_range_test import ramp_on
from lr_search_transformers.hf_trainer_like import TrainerLike

if TYPE_CHECKING:
    from lr_search.own_loops.training_run import TrainingRun

_SPEED = ("_runtime", "_per_second", "_preparation_time")  # metrics that differ from run to run


@dataclass(frozen=True)
class TrainerTrial:
    """Trains one trial, when it is called with its run.

    Args:
        like: makes the Trainer.
        objective: the metric that must be reported.
        num_steps: of a training, for its range test.
    """

    like: TrainerLike
    objective: str
    num_steps: int

    def __call__(self, run: TrainingRun) -> None:
        """Train to the end, or until the run raises Stop."""
        with _as_loud_as_before(), tempfile.TemporaryDirectory(prefix="lr_search_") as folder:
            trainer = self.like.made(run.seed, run.num_steps, folder, FollowsRun)
            trainer.run = run
            trainer.add_callback(ReportsToRun(trainer, run, self.objective))
            with loaders_forgotten(trainer):
                trainer.train()

    def own_range_test(self, seed: int, settings: RampSettings) -> LRCurve:
        """The range test of a trial of that seed, on its Trainer's own parts: the gain ratio is measured too."""
        asked = {name: value for name, value in vars(settings).items() if name != "valid_batches"}
        rng = preserved_rng(self.like.args.device)
        with rng, _as_loud_as_before(), tempfile.TemporaryDirectory(prefix="lr_search_") as folder:
            curve = ramp_on(self.like.made(seed, self.num_steps, folder), **asked)
        plan = curve.plan or Plan()
        return replace(curve, plan=replace(plan, schedule=None))  # which may be any of those compared


class FollowsRun(Trainer):
    """A Trainer under a run's schedule, which adds up the loss of each step. To be derived from together with a Trainer's class."""

    run: TrainingRun
    step_loss: torch.Tensor | None = None

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """The run's schedule in place of the one that the arguments name."""
        steps: Any = self.optimizer if optimizer is None else optimizer
        follows: Any = self.run.attach(steps)
        self.lr_scheduler = follows
        return follows

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The Trainer's, its loss kept: a batch's part of the loss of a step."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        self.step_loss = loss if self.step_loss is None else self.step_loss + loss
        return loss


class ReportsToRun(TrainerCallback):
    """Tells a run each step's loss, and the Trainer's own evaluation whenever one is due.

    Args:
        trainer: that trains.
        run: that is told.
        objective: the metric without which no evaluation will do.
    """

    def __init__(self, trainer: Any, run: TrainingRun, objective: str) -> None:
        self._trainer, self._run, self._objective = trainer, run, objective

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """After each optimizer step, whatever was accumulated for it."""
        trainer, run = self._trainer, self._run
        if run.steps_done < state.global_step:  # fp16 skipped it, and so did the Trainer with its scheduler
            trainer.lr_scheduler.step()
        loss, trainer.step_loss = trainer.step_loss, None
        run.loss(loss)
        if run.due:
            with run.evaluating():
                metrics = trainer.evaluate()
            run.report(**reported(metrics, self._objective))


def reported(metrics: Mapping[str, Any], objective: str) -> dict[str, float]:
    """What an evaluation found, without how long it took. Raises: WorkloadError: the objective is not among it.

    >>> reported({"eval_loss": 0.5, "eval_runtime": 1.7, "epoch": 2.0}, "eval_loss")
    {'eval_loss': 0.5}
    """
    kept = {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and name != "epoch" and not name.endswith(_SPEED)
    }
    if objective not in kept:
        raise WorkloadError(
            f"objective must be a metric of trainer.evaluate(), but got {objective!r}. It gives {', '.join(kept) or 'none'}: "
            "name one of these, or return it from compute_metrics, before whose names Transformers puts 'eval_'."
        )
    return kept


@contextmanager
def _as_loud_as_before() -> Iterator[None]:
    """A Trainer sets for the whole process how much Transformers logs."""
    verbosity = logging.get_verbosity()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
