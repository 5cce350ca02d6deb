"""The range test of a Trainer: its loss, batches, groups, accumulation and clipping, and all of it as it was afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from transformers import Trainer

from lr_search.curves.curve import LRCurve
from lr_search.curves.training_plan import Plan
from lr_search.errors import InvalidInputError
from lr_search.kinds.checked import checked
from lr_search.ramp.range_test import range_test as range_test_of_objects
from lr_search.rng import preserved_rng
from lr_search.state.capture import preserved_modes
from lr_search.workloads.parts import Precision
from lr_search.workloads.passes import length
from lr_search_transformers.hf_batches import (
    StepBatches,
    batches_a_step,
    loaders_forgotten,
    steps_in_epoch,
    steps_of_training,
)
from lr_search_transformers.hf_checks import require_one_process, require_untrained
from lr_search_transformers.hf_schedules import planned_schedule

OF_THE_TRAINER = ("model", "optimizer", "batches", "loss", "accumulate", "clip_norm", "precision", "scaler", "plan")


@checked
def range_test(trainer: Trainer, **settings: Any) -> LRCurve:
    """A range test of the training that `trainer.train()` would run; the Trainer is then as it was before.

    The loss is its `compute_loss` on its own batches: collator, label smoothing, items in a step, accumulation, clipping, precision
    and parameter groups are the Trainer's. No callback is called and nothing is logged. `curve.suggest()` is for the Trainer's
    number of steps and lr_scheduler_type.

    Args:
        trainer: that has not trained yet, on one device.
        **settings: of `lr_search.range_test`: start_lr, end_lr, num_steps, num_epochs, ramp, extend, gain_ratio, metrics, valid_data.

    Raises:
        InvalidInputError: the Trainer has trained, or uses DeepSpeed, FSDP or several devices; or a setting breaks its rule.
    """
    require_one_process(trainer)
    require_untrained(trainer)
    if own := [name for name in settings if name in OF_THE_TRAINER]:
        raise InvalidInputError(
            f"range_test takes {', '.join(own)} from the Trainer. Set it in its TrainingArguments, and leave it out here."
        )
    return ramp_on(trainer, **settings)


def ramp_on(trainer: Trainer, **settings: Any) -> LRCurve:
    """The range test of a Trainer that is fit for it. Args: trainer: which; **settings: as of `lr_search.range_test`."""
    with left_as_it_was(trainer):
        loader = trainer.get_train_dataloader()
        accumulate = batches_a_step(trainer, loader)
        loss = partial(_loss_of_batch, trainer.compute_loss, trainer._prepare_inputs, _loss_scale(trainer, accumulate))
        return range_test_of_objects(
            cast("nn.Module", trainer.model), trainer.create_optimizer(), StepBatches(trainer, loader, accumulate), loss,
            accumulate=accumulate, clip_norm=trainer.args.max_grad_norm or None, precision=_precision(trainer),
            plan=_plan(trainer, loader), **settings,
        )  # fmt: skip


def _loss_of_batch(
    compute_loss: Callable[..., Any],
    prepare: Callable[[Any], Any],
    scale: Callable[[Any], float],
    model: nn.Module,
    batch: tuple[Any, torch.Tensor | int | None],
) -> torch.Tensor:
    """The loss of one batch, whose mean over the batches of a step is the Trainer's loss of that step."""
    inputs, num_items = batch
    inputs = prepare(inputs)  # a new mapping: compute_loss may take the labels out of it
    loss: torch.Tensor = compute_loss(model, inputs, num_items_in_batch=num_items)
    return loss * scale(num_items)


def _loss_scale(trainer: Trainer, accumulate: int) -> Callable[[Any], float]:
    """What a batch's loss is multiplied by: the Trainer adds up losses that are divided by the items of the whole step."""

    def scale(num_items: Any) -> float:
        scaled: bool | None = getattr(trainer, "loss_is_scaled_for_ga", None)  # as `Trainer.training_step` decides it
        if scaled is None:
            by_items = trainer.model_accepts_loss_kwargs and num_items is not None
            scaled = by_items or trainer.compute_loss_func is not None
        return float(accumulate) if scaled else 1.0

    return scale


def _precision(trainer: Trainer) -> Precision:
    if trainer.args.bf16:
        return "bf16"
    return "fp16" if trainer.args.fp16 else "fp32"


def _plan(trainer: Trainer, loader: Any) -> Plan:
    return Plan(
        num_steps=steps_of_training(trainer, loader),
        schedule=planned_schedule(trainer.args.lr_scheduler_type),
        batch_size=trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps,
        examples=length(trainer.train_dataset),
        steps_per_epoch=steps_in_epoch(trainer, loader),
    )


@contextmanager
def left_as_it_was(trainer: Trainer) -> Iterator[None]:
    """The Trainer's attributes, what Accelerate remembers of loaders, modes and random states are put back; the rest is the range test's."""
    before, prepared = dict(vars(trainer)), list(trainer.accelerator._dataloaders)
    model = cast("nn.Module", trainer.model)
    with loaders_forgotten(trainer), preserved_rng(trainer.args.device), preserved_modes(model):
        model.train()
        try:
            yield
        finally:
            vars(trainer).clear()
            vars(trainer).update(before)
            trainer.accelerator._dataloaders[:] = prepared
