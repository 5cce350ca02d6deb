"""What a fit consists of: its steps, its validations, its batches; read off one that is set up and left before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from lr_search.errors import require
from lr_search.rng import preserved_rng, seed_everything
from lr_search.workloads.devices import device_named
from lr_search_lightning.at_train_start import AtTrainStart
from lr_search_lightning.fit_trial import FitTrial
from lr_search_lightning.ramp_in_fit import has_plain_steps, steps_of_fit


@dataclass(frozen=True)
class FitFacts:
    """What a comparison needs to know of a fit.

    Args:
        num_steps: its optimizer steps; None: it has no end.
        steps_per_epoch: in one pass over the training data; None: not known.
        validation_steps: optimizer steps between two validations; None: not known.
        batch_size: examples a step, over all processes; None: not known.
        validates: whether it has a validation.
        has_plain_steps: whether a ramp can be run in it that measures the gain ratio.
        has_schedulers: whether the module configures schedulers of its own.
    """

    num_steps: int | None
    steps_per_epoch: int | None
    validation_steps: int | None
    batch_size: int | None
    validates: bool
    has_plain_steps: bool
    has_schedulers: bool

    @classmethod
    def of(cls, trainer: Any) -> FitFacts:
        """Of a fit in `on_train_start`."""
        batches = trainer.num_training_batches
        steps_per_epoch = None if batches == inf else ceil(batches / trainer.accumulate_grad_batches)
        size = getattr(trainer.train_dataloader, "batch_size", None)
        return cls(
            num_steps=steps_of_fit(trainer),
            steps_per_epoch=steps_per_epoch,
            validation_steps=_validation_steps(trainer, steps_per_epoch),
            batch_size=size * trainer.accumulate_grad_batches * trainer.world_size if isinstance(size, int) else None,
            validates=bool(trainer.enable_validation),
            has_plain_steps=has_plain_steps(trainer),
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


def facts_of(trial: FitTrial) -> FitFacts:
    """Set the fit of a trial up, and look. Raises: InvalidInputError: it cannot be a trial."""
    looker = AtTrainStart(FitFacts.of)
    with preserved_rng(device_named("auto")):
        seed_everything(0)
        trial.fit(looker)
    facts: FitFacts = looker.found
    require(
        facts.validates,
        f"the fit must validate: monitor={trial.monitor!r} is what the module logs in validation_step",
        "Give the module a validation_step, and a loader of validation data; leave limit_val_batches above 0.",
    )
    return facts
