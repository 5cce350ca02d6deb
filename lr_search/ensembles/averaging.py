"""One model of several snapshots' mean weights: stochastic weight averaging."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.training.batch_norm import gather_statistics
from lr_search.training.snapshots import Snapshot, last_snapshots, rebuilt
from lr_search.workloads.workload import Workload


@checked
def average_weights(
    workload: Workload, snapshots: Sequence[Snapshot], *, last: int | None = None, seed: Seed = 0
) -> nn.Module:
    r"""A model whose every parameter is the snapshots' mean: as cheap to use as one model.

    w = (w_1 + ... + w_m) / m

    The mean is taken in double precision. Buffers are the last snapshot's, but for the statistics of batch normalisation:
    those belong to other weights, so they are measured again in one pass over the training data, in train mode (data without
    a known end: over as many batches as a training has steps). What a model keeps in eval mode stays as it was trained.

    Args:
        workload: what was trained.
        snapshots: `training.snapshots`, oldest first.
        last: how many of the last snapshots to take; default: all.
        seed: of the order of the batches in that pass.

    Returns:
        The model, in eval mode, on the workload's device.

    Raises:
        InvalidInputError: an argument breaks a rule.
        WorkloadError: the snapshots are of another model.

    Reference:
        Pavel Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018, arXiv:1803.05407.
    """
    members = last_snapshots(snapshots, last)
    sums: list[torch.Tensor] = []
    for snapshot in members:
        model = rebuilt(workload, snapshot)
        wide = [_wide(parameter) for parameter in model.parameters()]
        sums = [total + value for total, value in zip(sums, wide, strict=True)] if sums else wide
    with torch.no_grad():
        for parameter, total in zip(model.parameters(), sums, strict=True):
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.copy_(total / len(members))
    passed = workload.steps_per_epoch or workload.num_steps
    gather_statistics(workload, model.train(), seed, most=round(passed * workload.accumulate))
    return model.eval()


def _wide(parameter: torch.Tensor) -> torch.Tensor:
    """In double precision, on the CPU: not every device has double precision."""
    return parameter.detach().cpu().to(torch.promote_types(parameter.dtype, torch.float64))
