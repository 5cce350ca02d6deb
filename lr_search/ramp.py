"""The LR range test on live objects; whatever happens, everything is as it was.

Reference: Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from lr_search._data import BatchWalk
from lr_search._step import Loss, Precision, Stepper
from lr_search.curve import FloatArray, LRCurve, Stopped, blow_up
from lr_search.errors import InvalidInputError, LRSearchError, WorkloadError, require
from lr_search.optim import capture, device_of, preserved_rng, seed_everything
from lr_search.workload import Workload

Ramp = Literal["exponential", "linear"]
BLOCK = 10  # steps between reads of the losses: each read waits for the device
LEAST_STEPS = 10


def range_test(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Any],
    loss: Loss,
    *,
    start_lr: float = 1e-7,
    end_lr: float = 10.0,
    num_steps: int = 100,
    ramp: Ramp = "exponential",
    accumulate: int = 1,
    clip_norm: float | None = None,
    precision: Precision = "fp32",
    scaler: torch.amp.GradScaler | None = None,
) -> LRCurve:
    """Train for a few steps while the LR rises, record the losses, and put everything back.

    Works before or in the middle of a training. Weights, buffers, gradients, the optimizer, modes and random states are
    restored in memory, also after an exception or Ctrl-C. The ramp ends early when the loss blows up or is not finite.

    Args:
        model: in the mode it is trained in.
        optimizer: of the model; parameter groups keep the ratios of their LRs.
        batches: a DataLoader or another iterable that can be walked through again and again; at least 2 batches.
        loss: (model, batch) -> scalar tensor.
        start_lr: LR at the first step; > 0, or 0 for a linear ramp.
        end_lr: LR at the last step, > start_lr.
        num_steps: optimizer steps, >= 10.
        ramp: "exponential" (even in log LR) or "linear".
        accumulate: batches a step, >= 1.
        clip_norm: the largest norm of all gradients together, > 0, or None.
        precision: fp32, or bf16 / fp16 under autocast.
        scaler: your own GradScaler, where you train with one.

    Returns:
        The curve, (n,) with n <= num_steps.

    Raises:
        InvalidInputError: an argument breaks a rule.
        WorkloadError: the data are empty or one batch, or the loss is not a scalar tensor.

    >>> model = nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> data = torch.linspace(-1, 1, 32).reshape(4, 8, 1)
    >>> curve = range_test(model, optimizer, data, lambda model, x: ((model(x) - 3 * x) ** 2).mean(), end_lr=100.0)
    >>> curve.stopped, optimizer.param_groups[0]["lr"]
    ('diverged', 0.1)
    """
    require(isinstance(model, nn.Module), "model must be a torch.nn.Module", got=type(model).__name__)
    require(
        isinstance(optimizer, torch.optim.Optimizer),
        "optimizer must be a torch Optimizer",
        got=type(optimizer).__name__,
    )
    lrs = ramp_lrs(start_lr, end_lr, num_steps, ramp)
    if isinstance(batches, Iterator):
        raise InvalidInputError(
            "batches must be something that can be walked through again, but got a bare iterator, which cannot be put "
            "back where it was. Pass the DataLoader itself, or list(...) of the batches."
        )
    device = device_of(model)
    before = capture(model, optimizer, scaler)
    try:
        stepper = Stepper(
            model, optimizer, loss, device,
            accumulate=accumulate, clip_norm=clip_norm, precision=precision, scaler=scaler,
        )  # fmt: skip
        return run_ramp(stepper, BatchWalk(lambda: batches, "batches", device, rewound=False), lrs, ramp)
    finally:
        before.restore()


def ramp_lrs(start_lr: float, end_lr: float, num_steps: int, ramp: Ramp) -> FloatArray:
    """The LR of each step. Returns: (num_steps,), from start_lr to end_lr, both included."""
    require(ramp in ("exponential", "linear"), "ramp must be 'exponential' or 'linear'", ramp=ramp)
    least = "at least 0" if ramp == "linear" else "positive"
    require(start_lr > 0 or (ramp == "linear" and start_lr == 0), f"start_lr must be {least}", start_lr=start_lr)
    require(start_lr < end_lr < np.inf, "start_lr must be below end_lr", start_lr=start_lr, end_lr=end_lr)
    require(num_steps >= LEAST_STEPS, f"num_steps must be at least {LEAST_STEPS}", num_steps=num_steps)
    if ramp == "linear":
        return np.linspace(start_lr, end_lr, num_steps)
    return np.geomspace(start_lr, end_lr, num_steps)


def run_ramp(stepper: Stepper, batches: Iterator[Any], lrs: FloatArray, ramp: Ramp) -> LRCurve:
    """Take the ramp's steps until they end or the loss blows up; changes the model."""
    read: list[float] = []
    stopped: Stopped = "finished"
    for begin in range(0, len(lrs), BLOCK):
        pending: list[torch.Tensor] = []
        failure: Exception | None = None
        try:
            for lr in lrs[begin : begin + BLOCK].tolist():
                pending.append(stepper.step(batches, lr))
        except LRSearchError:
            raise
        except Exception as error:
            failure = error
        values = torch.stack(pending).cpu().double().numpy() if pending else np.empty(0)
        bad = np.flatnonzero(~np.isfinite(values))
        read.extend(values[: bad[0]].tolist() if len(bad) else values.tolist())
        end = blow_up(np.asarray(read), first=begin)
        if end is not None:
            stopped, read = "diverged", read[: end + 1]
        elif len(bad) or (failure is not None and read and not stepper.is_finite()):
            stopped = "non_finite"
        elif failure is not None:
            raise failure
        if stopped != "finished":
            break
    if not read:
        raise WorkloadError(
            "The first loss must be finite, but it was not, before any step was taken. Check the data and the loss."
        )
    spent = len(read) + (stopped == "non_finite")
    return LRCurve(lrs[: len(read)], np.asarray(read), stopped=stopped, num_steps=spent, ramp=ramp)


def range_test_of(
    workload: Workload, *, seed: int, start_lr: float, end_lr: float, num_steps: int, ramp: Ramp
) -> LRCurve:
    """The range test of a new training of the workload, from the weights and batches of that seed."""
    lrs = ramp_lrs(start_lr, end_lr, num_steps, ramp)
    device = workload.torch_device
    with preserved_rng(device):
        seed_everything(seed)
        model, optimizer = workload.build()
        stepper = Stepper(
            model, optimizer, workload.loss, device,
            accumulate=workload.accumulate, clip_norm=workload.clip_norm, precision=workload.precision,
        )  # fmt: skip
        seed_everything(seed)
        return run_ramp(stepper, BatchWalk(workload.train_data, "train_data", device), lrs, ramp)
