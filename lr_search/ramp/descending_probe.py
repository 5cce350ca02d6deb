"""The naive way to an LR: start high, go down exponentially, and stop at the first at which the loss falls."""

from __future__ import annotations

import numpy as np
import torch

from lr_search.arrays import FloatArray
from lr_search.curves.probe import Ladder, Probe, falls
from lr_search.errors import LRSearchError, WorkloadError
from lr_search.rng import preserved_rng
from lr_search.training.step import Stepper
from lr_search.workloads.workload import Workload


def descending_probe(
    workload: Workload, seed: int = 0, *, lr_range: tuple[float, float] = (1e-5, 10.0), ladder: Ladder | None = None
) -> Probe:
    """Train for a few steps at one LR after the other, from the highest down, until the loss falls.

    Every LR starts from the same weights and sees the same batches. The largest LR whose loss falls in so few steps is the
    largest usable one or above it: what looks usable at first may still diverge, so that one trains with 1/10 to 1/100 of it.

    Args:
        workload: what is trained.
        seed: of the weights and the batches.
        lr_range: (low, high), the LRs to try.
        ladder: how many steps at each LR, and by which factor it falls. Default: 10 steps, down by the square root of 10.

    Raises:
        InvalidInputError: lr_range is no range.
        WorkloadError: the workload cannot be trained.

    >>> batches = torch.linspace(-1, 1, 32).reshape(4, 8, 1)
    >>> workload = Workload(
    ...     model=lambda: torch.nn.Linear(1, 1, bias=False),
    ...     optimizer=torch.optim.SGD,
    ...     loss=lambda model, x: ((model(x) - 3 * x) ** 2).mean(),
    ...     train_data=lambda: batches,
    ...     valid_data=lambda: batches,
    ... )
    >>> descending_probe(workload, ladder=Ladder(factor=10)).largest_lr
    1.0
    """
    ladder = ladder or Ladder()
    lrs = ladder.lrs(*lr_range)
    with preserved_rng(workload.torch_device):
        untrained = _losses(workload, seed, 0.0, ladder.num_steps)
        if not np.isfinite(untrained).all():
            bad = int(np.argmin(np.isfinite(untrained))) + 1
            raise WorkloadError(
                f"The loss of the untrained weights must be finite, but is not on the batches of step {bad}. "
                "Look for labels that are all ignored (ignore_index) and for values that are not finite."
            )
        rows: list[FloatArray] = []
        for lr in lrs.tolist():
            rows.append(_losses(workload, seed, lr, ladder.num_steps))
            if falls(rows[-1], untrained):
                break
    return Probe(lrs[: len(rows)], np.stack(rows), untrained)


def _losses(workload: Workload, seed: int, lr: float, num_steps: int) -> FloatArray:
    """The loss before each step of a new training at that LR, nan from the first that is not finite. Returns: (num_steps,)."""
    model, optimizer, walk = workload.begin(seed)
    stepper = Stepper.of(workload, model, optimizer)
    losses: list[torch.Tensor] = []
    failure: Exception | None = None
    try:
        for _ in range(num_steps):
            losses.append(stepper.step(walk, lr))
    except LRSearchError:
        raise
    except Exception as error:
        failure = error
    values = torch.stack(losses).cpu().double().numpy() if losses else np.empty(0)
    bad = np.flatnonzero(~np.isfinite(values))
    # an exception on weights or outputs that are not finite is divergence too, but not before a first step
    if failure is not None and not len(bad) and (not losses or stepper.is_finite()):
        raise failure
    walk.close()
    finite = np.full(num_steps, np.nan)
    count = int(bad[0]) if len(bad) else len(values)
    finite[:count] = values[:count]
    return finite
