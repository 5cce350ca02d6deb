"""What distinguishes one training function's trainings from another's: what its first steps show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

from lr_search.errors import WorkloadError
from lr_search.own_loops.first_look import FIRST_STEPS, MOVING_LR, FirstLook, first_look, is_lazy
from lr_search.plain import plain_value
from lr_search.storage.fingerprints.differences import TOLERANCE, UNTRAINED, part_differences
from lr_search.storage.fingerprints.optimizer_print import optimizer_print
from lr_search.storage.fingerprints.prints import value_print
from lr_search.workloads.trainable import Trainable

AT_START = "at_start"  # the objective before the first step: for the report
PASTED = "pasted"  # how the answer's code uses the schedule: for the report, and never compared
_RULE = "{}(run) must begin with the same each time it is called with the same seed"
_SETTINGS = ("num_steps", "eval_every", "objective", "direction", "batch_size")


def function_start(trainable: Trainable, seed: int) -> dict[str, Any]:
    """What a training of that seed starts from.

    Args:
        trainable: the training function.
        seed: of its generators.

    Raises:
        WorkloadError: it cannot be trained.
    """
    return _start(trainable, trainable.first_look(seed))


def steady_function_start(trainable: Trainable, seed: int) -> tuple[dict[str, Any], list[str]]:
    """The start, and what of it comes out otherwise each time though the weights are the same.

    Raises:
        WorkloadError: it begins with other weights when it is called again with the same seed; or, where it attaches no optimizer,
            with other losses after steps that move a model.
    """
    look = trainable.first_look(seed)
    start = _start(trainable, look)
    with _moved(look):
        second = first_look(trainable, seed)
        again = _start(trainable, second)
    for name in ("model", "optimizer"):
        if changes := part_differences(name, start, again, ("the first time", "the second")) if name in start else []:
            raise WorkloadError(
                f"{_RULE.format(trainable.__name__)}, but {'; '.join(changes)}. "
                "Make the model and the optimizer inside the function; draw random numbers from the generators of torch, NumPy and "
                "Python, which are seeded before each call, or from generators that run.seed seeds."
            )
    if not look.optimizers:
        _require_nothing_kept(trainable, seed, second)
    return start, [name for name in UNTRAINED if name in start and part_differences(name, start, again)]


def _require_nothing_kept(trainable: Trainable, seed: int, before: FirstLook) -> None:
    """Refuse a function whose first losses are others after steps of its own that move a model, and stay so: it kept the model.

    What comes out otherwise each time by itself does not stay so.

    Args:
        trainable: the training function, whose model cannot be seen.
        seed: of its generators.
        before: its first steps; not those of its very first call, which may make what is kept without harm.
    """
    with suppress(Exception):  # as in a trial at too high an LR
        first_look(trainable, seed, MOVING_LR)
    after = first_look(trainable, seed)
    apart = _apart(before, after)
    if apart > TOLERANCE and all(_apart(after, first_look(trainable, seed)) < apart / 10 for _ in range(3)):
        first, then = (", ".join(f"{loss:.4g}" for loss in look.losses) for look in (before, after))
        raise WorkloadError(
            f"{_RULE.format(trainable.__name__)}, but its first losses are {first}, and {then} after {FIRST_STEPS} steps at an LR of "
            f"{MOVING_LR}. Make the model inside the function: one that is kept outside it goes on from trial to trial."
        )


def _apart(one: FirstLook, other: FirstLook) -> float:
    """The largest difference of their losses, over the largest loss; nan where they have none, or not as many."""
    here, there = np.array(one.losses), np.array(other.losses)
    if here.shape != there.shape or not len(here):
        return math.nan
    with np.errstate(all="ignore"):  # one may not be finite
        return float(np.abs(here - there).max() / np.abs([here, there]).max())


@contextmanager
def _moved(look: FirstLook) -> Iterator[None]:
    """Moves the weights of a look, as a training would: a call that begins with other weights then was left them. Puts them back."""
    held = [each for optimizer in look.optimizers for group in optimizer.param_groups for each in group["params"]]
    before = [(each, each.detach().clone()) for each in held if not is_lazy(each) and each.is_floating_point()]
    try:
        with torch.no_grad():
            for each, _ in before:
                each.add_(1.0)
        yield
    finally:
        with torch.no_grad():
            for each, value in before:
                each.copy_(value)


def _start(trainable: Trainable, look: FirstLook) -> dict[str, Any]:
    device = trainable.torch_device
    start: dict[str, Any] = {name: getattr(trainable, name) for name in _SETTINGS}
    start["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    start["precision"] = "fp32"  # as far as is known
    if look.losses:
        start["loss"] = plain_value(look.losses[0])
    later = {f"loss of step {place}": loss for place, loss in enumerate(look.losses[1:], start=2)}
    if look.metrics or later:
        start["metrics"] = plain_value({**look.metrics, **later})
    if look.optimizers:
        start["optimizer"] = optimizer_print(None, look.optimizers)
        shapes = {name: [str(each.dtype), list(each.shape)] for name, each in look.weights.items()}
        start["model"] = {
            "parameters": len(look.weights),
            "numbers": sum(each.numel() for each in look.weights.values()),
            "frozen": 0,
            "shapes": value_print(shapes)[0],
            "weights": value_print(look.weights),
        }
    value = look.metrics.get(trainable.objective, math.nan)
    beside = {AT_START: value} if math.isfinite(value) else {}
    return {**start, PASTED: {"template": trainable.pasted or look.pasted, "times": look.times}, **beside}
