"""What a fit consists of: its steps, its validations, its batches; read off one that is set up and left before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf
from typing import Any

import torch

from lr_search.errors import InvalidInputError, require
from lr_search.rng import preserved_rng, seed_everything
from lr_search_lightning.fit_trial import FitTrial
from lr_search_lightning.lightning_names import Callback, home_of, lightning_object
from lr_search_lightning.ramp_in_fit import steps_of


@dataclass(frozen=True)
class FitFacts:
    """What a comparison needs to know of a fit.

    Args:
        num_steps: its optimizer steps; None: it has no end.
        steps_per_epoch: in one pass over the training data; None: not known.
        validation_steps: optimizer steps between two validations; None: not known.
        batch_size: examples a step, over all processes; None: not known.
        validates: whether it has a validation.
        is_automatic: whether Lightning takes the steps.
        has_schedulers: whether the module configures schedulers of its own.
    """

    num_steps: int | None
    steps_per_epoch: int | None
    validation_steps: int | None
    batch_size: int | None
    validates: bool
    is_automatic: bool
    has_schedulers: bool

    @classmethod
    def of(cls, trainer: Any) -> FitFacts:
        """Of a fit in `on_train_start`."""
        batches = trainer.num_training_batches
        steps_per_epoch = None if batches == inf else ceil(batches / trainer.accumulate_grad_batches)
        size = getattr(trainer.train_dataloader, "batch_size", None)
        return cls(
            num_steps=steps_of(trainer),
            steps_per_epoch=steps_per_epoch,
            validation_steps=_validation_steps(trainer, steps_per_epoch),
            batch_size=size * trainer.accumulate_grad_batches * trainer.world_size if isinstance(size, int) else None,
            validates=bool(trainer.enable_validation),
            is_automatic=bool(trainer.lightning_module.automatic_optimization),
            has_schedulers=bool(trainer.lr_scheduler_configs),
        )


def _validation_steps(trainer: Any, steps_per_epoch: int | None) -> int | None:
    """Optimizer steps between two validations by the Trainer's own rhythm, in whole steps; None: by time, or after a pass of unknown length."""
    batches, epochs = trainer.val_check_batch, trainer.check_val_every_n_epoch
    if batches is None or batches == inf:
        return None
    if epochs is not None and steps_per_epoch is not None and batches >= trainer.num_training_batches:
        return steps_per_epoch * int(epochs)
    return max(1, round(int(batches) / int(trainer.accumulate_grad_batches)))


class _Looker(Callback):  # type: ignore[misc]  # of whichever package is installed
    """Reads the facts in the place of the training."""

    def __init__(self) -> None:
        self.facts: FitFacts | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The fit is set up."""
        self.facts = FitFacts.of(trainer)
        home = home_of(trainer, "trainer", "Trainer")
        raise lightning_object(home, "utilities.exceptions", "_TunerExitException")


def facts_of(trial: FitTrial) -> FitFacts:
    """Set the fit of a trial up, and look. Raises: InvalidInputError: it cannot be a trial."""
    looker = _Looker()
    with preserved_rng(torch.device("cpu")):
        seed_everything(0)
        trial.fit(looker)
    if looker.facts is None:
        raise InvalidInputError("The fit must have training batches and steps, but it ended before its first one.")
    require(
        looker.facts.validates,
        f"the fit must validate: monitor={trial.monitor!r} is what the module logs in validation_step",
        "Give the module a validation_step, and a loader of validation data; leave limit_val_batches above 0.",
    )
    return looker.facts
