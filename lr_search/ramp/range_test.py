"""The LR range test on live objects; whatever happens, everything is as it was.

Reference: Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from lr_search.arrays import FloatArray
from lr_search.curves.curve import LRCurve, Ramp
from lr_search.curves.suggest import end_to_move
from lr_search.errors import InvalidInputError, require
from lr_search.ramp.run import RampRun, Sweep
from lr_search.ramp.start import start
from lr_search.rng import preserved_rng
from lr_search.training.state import capture, device_of
from lr_search.training.step import Stepper
from lr_search.workloads.batches import BatchWalk, length
from lr_search.workloads.parts import Loss, LossMetric, Metrics, Precision
from lr_search.workloads.workload import Workload

LEAST_STEPS = 20
END_FACTOR, HIGHEST_LR = 10.0, 1e4  # how `extend` moves the ramp's end: by a decade at a time, so far at most
START_FACTOR, LOWEST_LR = 1e-3, 1e-12  # and its start


def range_test(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    batches: Iterable[Any],
    loss: Loss | Sequence[Loss],
    *,
    start_lr: float = 1e-7,
    end_lr: float = 10.0,
    num_steps: int = 100,
    num_epochs: float | None = None,
    ramp: Ramp = "exponential",
    extend: bool = False,
    gain_ratio: bool | None = None,
    metrics: Metrics | None = None,
    valid_data: Iterable[Any] | None = None,
    valid_batches: int = 2,
    accumulate: int = 1,
    clip_norm: float | None = None,
    precision: Precision = "fp32",
    scaler: torch.amp.GradScaler | None = None,
) -> LRCurve:
    """Train for a few steps while the LR rises, record the losses, and put everything back.

    Works before or in the middle of a training. Weights, buffers, gradients, the optimizer, modes and random states are
    restored in memory, also after an exception or Ctrl-C. The ramp ends early when the loss blows up or is not finite.
    Under DistributedDataParallel every process calls it, and all stop at the same step, judged by the mean of their losses.

    Args:
        model: in the mode it is trained in.
        optimizer: of the model, or several. Parameter groups keep the ratios of their LRs: the curve's LR is that of the
            first group of the first.
        batches: a DataLoader or another iterable that can be walked through again and again; at least 2 batches.
        loss: (model, batch) -> scalar tensor. One for several optimizers, or one for each, which then step in turn (GANs);
            the curve has their sum.
        start_lr: LR at the first step; > 0, or 0 for a linear ramp.
        end_lr: LR at the last step, > start_lr.
        num_steps: optimizer steps, >= 20.
        num_epochs: passes over the batches instead, > 0.
        ramp: "exponential" (even in log LR) or "linear".
        extend: go on beyond end_lr while the loss is still falling there, and begin again lower where start_lr was too high.
        gain_ratio: measure at every step the actual over the predicted reduction of the loss, at one more forward pass (a
            third of a step) and a copy of the weights. Default: where the loss comes out the same when evaluated again.
        metrics: (model, batch) -> {name: value}, recorded on each batch before its step, at one more forward pass; on
            valid_data alone where that is given.
        valid_data: batches to evaluate (metrics, or the loss) before every step; in the curve under "valid_<name>".
        valid_batches: how many of them: the first of one pass, always the same, >= 1.
        accumulate: batches a step, >= 1.
        clip_norm: the largest norm of all gradients together, > 0, or None.
        precision: fp32, or bf16 / fp16 under autocast.
        scaler: your own GradScaler, where you train with one.

    Returns:
        The curve, (n,) with n <= num_steps, or more where it was extended.

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
    optimizers, losses = _optimizers(optimizer), _losses(loss)
    require(
        len(losses) in (1, len(optimizers)),
        "loss must be one function, or one for each optimizer",
        losses=len(losses),
        optimizers=len(optimizers),
    )
    _require_no_iterator("batches", batches)
    _require_no_iterator("valid_data", valid_data)
    if num_epochs is not None:
        num_steps = _steps_of(num_epochs, length(batches), accumulate)
    ramp_lrs(start_lr, end_lr, num_steps, ramp)
    require(valid_batches >= 1, "valid_batches must be at least 1", valid_batches=valid_batches)
    device = device_of(model)
    before = capture(model, optimizers, scaler)

    def begin() -> RampRun:
        before.restore()  # after the first start, which was too high
        stepper = Stepper(
            model, optimizers, losses, device,
            accumulate=accumulate, clip_norm=clip_norm, precision=precision, scaler=scaler,
        )  # fmt: skip
        sweep = None
        if valid_data is not None:
            sweep = Sweep.of(valid_data, metrics or LossMetric(losses[0]), valid_batches, device)
        return RampRun(
            stepper, BatchWalk(lambda: batches, "batches", device, rewound=False), ramp,
            gain_ratio=gain_ratio, metrics=None if sweep is not None else metrics, sweep=sweep,
        )  # fmt: skip

    try:
        return run(begin, start_lr, end_lr, num_steps, ramp, extend=extend)
    finally:
        before.restore()


def _require_no_iterator(name: str, data: Any) -> None:
    if isinstance(data, Iterator):
        raise InvalidInputError(
            f"{name} must be something that can be walked through again, but got a bare iterator, which cannot be put "
            "back where it was. Pass the DataLoader itself, or list(...) of the batches."
        )


def _optimizers(given: Any) -> list[torch.optim.Optimizer]:
    found = list(given) if isinstance(given, list | tuple) else [given]
    right = len(found) > 0 and all(isinstance(each, torch.optim.Optimizer) for each in found)
    require(
        right, "optimizer must be a torch Optimizer, or a list of them", got=[type(each).__name__ for each in found]
    )
    return found


def _losses(given: Any) -> list[Loss]:
    found = list(given) if isinstance(given, list | tuple) else [given]
    right = len(found) > 0 and all(callable(each) for each in found)
    require(right, "loss must be a function (model, batch) -> scalar tensor, or a list of them", got=given)
    return found


def _steps_of(num_epochs: float, batches: int | None, accumulate: int) -> int:
    require(0 < num_epochs < np.inf, "num_epochs must be a positive number", num_epochs=num_epochs)
    require(batches is not None, "num_epochs needs batches of known length", "Give num_steps instead.")
    assert batches is not None
    return int(np.ceil(num_epochs * batches / max(accumulate, 1) - 1e-9))


def run(
    begin: Callable[[], RampRun], start_lr: float, end_lr: float, num_steps: int, ramp: Ramp, *, extend: bool
) -> LRCurve:
    """Run one ramp; with `extend`, on beyond its end, or again from a lower start.

    Args:
        begin: makes the run, from the weights the ramp begins with; called again for each new start.
        start_lr: LR at the first step.
        end_lr: LR at the last.
        num_steps: steps from one to the other; more at the same pace where it is extended.
        ramp: "exponential" or "linear".
        extend: whether to move the ends.
    """
    lrs = ramp_lrs(start_lr, end_lr, num_steps, ramp)
    curve = _climbed(begin(), lrs, ramp, extend=extend)
    while extend and ramp == "exponential" and end_to_move(curve) == "start" and start_lr * START_FACTOR >= LOWEST_LR:
        per_step = lrs[1] / lrs[0]
        more = int(np.ceil(-np.log(START_FACTOR) / np.log(per_step)))
        start_lr = start_lr * per_step**-more
        lrs = np.concatenate([start_lr * per_step ** np.arange(more), lrs])
        again = _climbed(begin(), lrs, ramp, extend=extend)
        curve = replace(
            again, num_steps=again.num_steps + curve.num_steps, num_forwards=again.num_forwards + curve.num_forwards
        )
    return curve


def _climbed(climb: RampRun, lrs: FloatArray, ramp: Ramp, *, extend: bool) -> LRCurve:
    """Take the ramp's steps, and more while the loss is still falling at its end."""
    try:
        return _extended(climb, lrs, ramp) if extend else _taken(climb, lrs)
    finally:
        climb.close()


def _taken(climb: RampRun, lrs: FloatArray) -> LRCurve:
    climb.go(lrs)
    return climb.curve()


def _extended(climb: RampRun, lrs: FloatArray, ramp: Ramp) -> LRCurve:
    curve = _taken(climb, lrs)
    while end_to_move(curve) == "end" and lrs[-1] * END_FACTOR <= HIGHEST_LR * (1 + 1e-9):
        if ramp == "linear":
            more = lrs[-1] + (lrs[1] - lrs[0]) * np.arange(1, len(lrs) + 1)  # as wide again
        else:
            per_step = lrs[1] / lrs[0]
            more = lrs[-1] * per_step ** np.arange(1, np.ceil(np.log(END_FACTOR) / np.log(per_step)) + 1)
        lrs = np.concatenate([lrs, more])
        curve = _taken(climb, more)
    return curve


def most_steps_charged(num_steps: int, measured: bool, valid_batches: int = 0) -> int:
    """What a range test of that many steps is charged at most, where its ramp is not extended.

    Args:
        num_steps: in the ramp.
        measured: whether the gain ratio is, by a forward pass a step and one to see whether the loss repeats.
        valid_batches: evaluated before every step.
    """
    forwards = (num_steps + 1 if measured else 0) + num_steps * valid_batches
    return num_steps + math.ceil(forwards / 3)


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


def range_test_of(
    workload: Workload,
    *,
    seed: int,
    start_lr: float,
    end_lr: float,
    num_steps: int,
    ramp: Ramp,
    extend: bool,
    gain_ratio: bool | None,
    valid_batches: int,
) -> LRCurve:
    """The range test of a new training of the workload, from the weights and batches of that seed."""
    ramp_lrs(start_lr, end_lr, num_steps, ramp)
    require(valid_batches >= 0, "valid_batches must be at least 0", valid_batches=valid_batches)
    device = workload.torch_device

    def begin() -> RampRun:
        stepper, walk = start(workload, seed)
        sweep = None
        if valid_batches:
            sweep = Sweep.of(workload.valid_data(), workload.metrics_or_loss, valid_batches, device)
        return RampRun(stepper, walk, ramp, gain_ratio=gain_ratio, sweep=sweep)

    with preserved_rng(device):
        return run(begin, start_lr, end_lr, num_steps, ramp, extend=extend)


def range_tests_of(workload: Workload, seeds: Sequence[int], **settings: Any) -> LRCurve:
    """The pooled curve of the range tests of several seeds: fused where that gives the same, else one after the other.

    Args:
        workload: what is trained.
        seeds: of the weights and the batches.
        **settings: as of `range_test_of`.
    """
    curves: list[LRCurve] | None = None
    if len(seeds) > 1 and not settings["extend"] and settings["valid_batches"] == 0:
        from lr_search.fused.range_tests import fused_range_tests

        lrs = ramp_lrs(settings["start_lr"], settings["end_lr"], settings["num_steps"], settings["ramp"])
        curves = fused_range_tests(workload, seeds, lrs, settings["ramp"], gain_ratio=settings["gain_ratio"])
    if curves is None:
        curves = [range_test_of(workload, seed=each, **settings) for each in seeds]
    return LRCurve.pool(curves)
