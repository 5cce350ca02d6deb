"""The range test in the middle of a training of ours, from its present state."""

from __future__ import annotations

import copy

from lr_search.curves.curve import LRCurve, Ramp
from lr_search.errors import require
from lr_search.ramp.range_test import ramp_lrs, run
from lr_search.ramp.run import RampRun, Sweep
from lr_search.rng import seed_everything
from lr_search.training.state import capture
from lr_search.training.step import Stepper
from lr_search.workloads.batches import BatchWalk
from lr_search.workloads.workload import Workload


def range_test_within(
    workload: Workload,
    stepper: Stepper,
    *,
    seed: int,
    start_lr: float = 1e-7,
    end_lr: float = 10.0,
    num_steps: int = 100,
    ramp: Ramp = "exponential",
    extend: bool = False,
    gain_ratio: bool | None = None,
    valid_batches: int = 0,
) -> LRCurve:
    """The range test of a training that is under way; whatever happens, everything is as it was.

    Args:
        workload: what is trained; its factories make the data anew.
        stepper: takes the training's steps. A copy of it takes the ramp's: same clipping, precision and scaler, and the
            same ratios of the groups' LRs, which cannot be read where a schedule has set them to 0.
        seed: of the batches.
        start_lr: this and the others: see `Workload.range_test`.
        end_lr: LR at the last step.
        num_steps: steps in the ramp.
        ramp: "exponential" or "linear".
        extend: whether to move the ramp's ends.
        gain_ratio: whether to measure it.
        valid_batches: validation batches to evaluate before every step.
    """
    ramp_lrs(start_lr, end_lr, num_steps, ramp)
    require(valid_batches >= 0, "valid_batches must be at least 0", valid_batches=valid_batches)
    before = capture(stepper.model, stepper.optimizers, stepper.scaler)

    def begin() -> RampRun:
        before.restore()
        own = copy.copy(stepper)
        own.meter = own.observer = None
        own.modes = copy.copy(stepper.modes)
        seed_everything(seed)
        walk = BatchWalk(workload.train_data, "train_data", own.device)
        sweep = None
        if valid_batches:
            sweep = Sweep.of(workload.valid_data(), workload.metrics_or_loss, valid_batches, own.device)
        return RampRun(own, walk, ramp, gain_ratio=gain_ratio, sweep=sweep)

    try:
        return run(begin, start_lr, end_lr, num_steps, ramp, extend=extend)
    finally:
        before.restore()
