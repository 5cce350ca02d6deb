"""The LR range test: on live objects, of a workload, and within a training; whatever happens, everything is as it was.

Reference: Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import nn

from lr_search.curves.curve import LRCurve, Ramp
from lr_search.curves.training_plan import Plan
from lr_search.errors import InvalidInputError, require
from lr_search.kinds.checked import checked
from lr_search.kinds.functions import require_takes
from lr_search.optimizers.param_groups import foreign
from lr_search.ramp.extending import run_ramp
from lr_search.ramp.run import RampRun, Sweep
from lr_search.ramp.settings import RampSettings, planned_for, ramp_steps
from lr_search.rng import preserved_rng
from lr_search.state.capture import capture, capture_loss, device_of, restored_afterwards
from lr_search.state.sharding import reshard
from lr_search.training.step import Stepper
from lr_search.workloads.batches import BatchWalk, length, open_data
from lr_search.workloads.forms import as_loss
from lr_search.workloads.parts import Loss, LossMetric, Metrics, Precision
from lr_search.workloads.workload import Workload


@checked
def range_test(
    model: Annotated[nn.Module, "A workload, and a training function, have one of their own: workload.range_test()."],
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    batches: Iterable[Any],
    loss: Loss | Sequence[Loss],
    *,
    start_lr: float = 1e-7,
    end_lr: float | None = None,
    num_steps: int | None = None,
    num_epochs: float | None = None,
    ramp: Ramp = "exponential",
    extend: bool | None = None,
    gain_ratio: bool | None = None,
    metrics: Metrics | None = None,
    valid_data: Iterable[Any] | None = None,
    valid_batches: int = 2,
    accumulate: int = 1,
    clip_norm: float | None = None,
    precision: Precision = "fp32",
    scaler: torch.amp.GradScaler | None = None,
    plan: Plan | None = None,
) -> LRCurve:
    """Train for a few steps while the LR rises, record the losses, and put everything back.

    Works before or in the middle of a training. Weights, buffers, gradients, the optimizer, modes and random states are
    restored in memory, also after an exception or Ctrl-C; so are attributes of modules and optimizers, wrapped ones too, the
    modules that the loss uses, layers that the first pass makes, and what hangs on all these, such as a trainer's results. Left
    alone are data sets, loaders and what was sent to a logger. That takes a copy of the weights, gradients and optimizer state;
    of everything else at most 1 GiB more than these. The ramp ends early when the loss blows up or is not finite.
    Under DistributedDataParallel every process calls it, and all stop at the same step, judged by the mean of their losses.

    Args:
        model: in the mode it is trained in.
        optimizer: of the model, or several. Parameter groups keep the ratios of their LRs: the curve's LR is that of the
            first group of the first.
        batches: a DataLoader or another iterable that can be walked through again and again; at least 2 batches.
        loss: (model, batch) -> scalar tensor, or for batches (input, target) one of torch's criteria. One for several optimizers, or
            one for each, which then step in turn (GANs); the curve has their sum.
        start_lr: LR at the first step; > 0, or 0 for a linear ramp.
        end_lr: LR at the last step, > start_lr. Default: 10, and on from there while the gain ratio tells that steps keep their promise.
        num_steps: optimizer steps, >= 20. Default: 100, of a plan that is shorter than 300 steps a third, but at least 20.
        num_epochs: passes over the batches instead, > 0.
        ramp: "exponential" (even in log LR) or "linear".
        extend: go on beyond end_lr where nothing broke there, and begin again lower where start_lr was too high. Default: go on
            where end_lr is left out and the ramp is exponential; False: keep to the ramp.
        gain_ratio: measure at every step the actual over the predicted reduction of the loss, at one more forward pass (a
            third of a step) and a copy of the weights. Default: where the loss comes out the same when evaluated again, and
            of the steps at which the ratio stays at 1 only a few; at the others it is NaN.
        metrics: (model, batch) -> {name: value}, recorded on each batch before its step, at one more forward pass; on
            valid_data alone where that is given.
        valid_data: batches to evaluate (metrics, or the loss) before every step; in the curve under "valid_<name>".
        valid_batches: how many of them: the first of one pass, always the same, >= 1.
        accumulate: batches a step, >= 1.
        clip_norm: the largest norm of all gradients together, > 0, or None.
        precision: fp32, or bf16 / fp16 under autocast.
        scaler: your own GradScaler, where you train with one.
        plan: the training that is to follow, for which the curve's suggestion then is; `curve.suggest` can be told later, too.

    Returns:
        The curve, (n,) with n <= num_steps, or more where it was extended.

    Raises:
        InvalidInputError: an argument breaks a rule; the optimizer holds parameters that are not the model's; or something, before
            the first step, could not be put back afterwards.
        WorkloadError: the data are empty or one batch; the loss is not a scalar tensor; the steps move no weight; or the first
            pass makes parameters that the optimizer does not hold.
        RestoreError: some of it could not be put back; all else was.

    >>> model = nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> data = torch.linspace(-1, 1, 32).reshape(4, 8, 1)
    >>> curve = range_test(model, optimizer, data, lambda model, x: ((model(x) - 3 * x) ** 2).mean(), end_lr=100.0)
    >>> curve.stopped, optimizer.param_groups[0]["lr"]
    ('diverged', 0.1)
    """
    optimizers, losses = _optimizers_and_losses(optimizer, loss)
    for name, function in [*(("loss", each) for each in losses), ("metrics", metrics)]:
        require_takes(name, function, "model", "batch")
    reshard(model.modules())
    if others := foreign(model, optimizers):
        raise InvalidInputError(f"The optimizer's parameters must be the model's, but {others}")
    _require_no_iterator("batches", batches)
    _require_no_iterator("valid_data", valid_data)
    if num_epochs is not None:
        num_steps = _steps_of(num_epochs, length(batches), accumulate)
    planned = None if plan is None else plan.num_steps
    settings = RampSettings(start_lr, end_lr, ramp_steps(num_steps, planned), ramp, extend, gain_ratio)
    _require_room(settings, planned)
    require(valid_batches >= 1, "valid_batches must be at least 1", valid_batches=valid_batches)
    device = device_of(model)
    before = capture(model, optimizers, scaler, functions=[*losses, metrics])

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
            gain_ratio=settings.gain_ratio, metrics=None if sweep is not None else metrics, sweep=sweep,
        )  # fmt: skip

    with restored_afterwards(before):
        curve = run_ramp(begin, settings)
    if plan is None:
        return curve
    told = (
        plan.batch_size is not None and plan.examples is not None
    )  # of the data; the batches here may be some of them
    known = Plan() if told or curve.plan is None else curve.plan
    return replace(curve, plan=known.but(**plan.to_json()))


def _require_room(settings: RampSettings, planned: int | None) -> None:
    """Refuse a range test that is longer than the training that it is for."""
    remedy = f"Leave num_steps out: it then takes {ramp_steps(None, planned)} steps. Or correct the plan."
    fits = planned is None or settings.num_steps <= planned
    require(fits, "num_steps must be at most the plan's", remedy, num_steps=settings.num_steps, plan=planned)


def _optimizers_and_losses(optimizer: Any, loss: Any) -> tuple[list[torch.optim.Optimizer], list[Loss]]:
    """Optimizers and losses as lists, if they go together: one loss for all optimizers, or one for each."""
    optimizers, losses = (list(value) if isinstance(value, list | tuple) else [value] for value in (optimizer, loss))
    valid = len(optimizers) > 0 and all(isinstance(value, torch.optim.Optimizer) for value in optimizers)
    kinds = [type(value).__name__ for value in optimizers]
    require(valid, "optimizer must be a torch Optimizer, or a list of them", got=kinds)
    valid = len(losses) > 0 and all(callable(value) for value in losses)
    require(valid, "loss must be a function (model, batch) -> scalar tensor, or a list of them", got=loss)
    require(
        len(losses) in (1, len(optimizers)),
        "loss must be one function, or one for each optimizer",
        losses=len(losses),
        optimizers=len(optimizers),
    )
    return optimizers, [as_loss(value) for value in losses]


def _require_no_iterator(name: str, data: Any) -> None:
    if isinstance(data, Iterator):
        raise InvalidInputError(
            f"{name} must be something that can be walked through again, but got a bare iterator, which cannot be put "
            "back where it was. Pass the DataLoader itself, or list(...) of the batches."
        )


def _steps_of(num_epochs: float, batches: int | None, accumulate: int) -> int:
    require(0 < num_epochs < np.inf, "num_epochs must be a positive number", num_epochs=num_epochs)
    require(batches is not None, "num_epochs needs batches of known length", "Give num_steps instead.")
    assert batches is not None
    return int(np.ceil(num_epochs * batches / max(accumulate, 1) - 1e-9))


def range_test_of(workload: Workload, settings: RampSettings, *, seed: int) -> LRCurve:
    """The range test of a new training of the workload, from the weights and batches of that seed."""
    before = capture_loss([workload.total_loss, workload.metrics])

    def begin() -> RampRun:
        before.restore()  # after the first start, which was too high
        model, optimizer, batches = workload.begin(seed)
        return _run_of(workload, Stepper.of(workload, model, optimizer), batches, settings)

    with preserved_rng(workload.torch_device), restored_afterwards(before):
        return planned_for(workload, run_ramp(begin, settings))


def range_tests_of(workload: Workload, settings: RampSettings, *, seeds: Sequence[int]) -> LRCurve:
    """The pooled curve of the range tests of several seeds: fused where that gives the same curves, else one after the other."""
    curves: list[LRCurve] | None = None
    if len(seeds) > 1:
        from lr_search.fused.range_tests import fused_range_tests

        curves = fused_range_tests(workload, settings, seeds=seeds)
    if curves is None:
        curves = [range_test_of(workload, settings, seed=seed) for seed in seeds]
    return LRCurve.pool(curves)


def range_test_within(workload: Workload, settings: RampSettings, stepper: Stepper, *, seed: int) -> LRCurve:
    """The range test of a training that is under way, from its present state.

    Args:
        workload: what is trained; its factories make the data anew.
        settings: of the range test.
        stepper: takes the training's steps. A copy of it takes the ramp's steps: same clipping, precision and scaler, and the
            same ratios of the groups' LRs, which cannot be read where a schedule has set them to 0.
        seed: of the batches.
    """
    functions = [workload.total_loss, workload.metrics]
    before = capture(stepper.model, stepper.optimizers, stepper.scaler, functions=functions)

    def begin() -> RampRun:
        before.restore()
        ramp_stepper = copy.copy(stepper)
        ramp_stepper.meter = ramp_stepper.observer = None
        ramp_stepper.modes = copy.copy(stepper.modes)
        return _run_of(workload, ramp_stepper, workload.batches(seed, stepper.model), settings)

    with restored_afterwards(before):
        return planned_for(workload, run_ramp(begin, settings))


def _run_of(workload: Workload, stepper: Stepper, batches: BatchWalk, settings: RampSettings) -> RampRun:
    """A ramp on the workload's data, the validation data opened last."""
    sweep = None
    if settings.valid_batches:
        sweep = Sweep.of(
            open_data(workload.valid_data, "valid_data", stepper.model),
            workload.metrics_or_loss,
            settings.valid_batches,
            stepper.device,
        )
    return RampRun(stepper, batches, settings.ramp, gain_ratio=settings.gain_ratio, sweep=sweep)
