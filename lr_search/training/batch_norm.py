"""The running statistics of batch norms, gathered anew for weights that no forward pass of the training has seen."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lr_search.errors import user_code
from lr_search.rng import preserved_rng, seed_everything
from lr_search.state.forward_state import ForwardState
from lr_search.training.step import autocast
from lr_search.workloads.batches import BatchWalk

if TYPE_CHECKING:
    from lr_search.workloads.workload import Workload

MOST_BATCHES = 50  # as the README of Schedule-Free advises


@user_code
def gather_statistics(workload: Workload, model: nn.Module, seed: int, most: int = MOST_BATCHES) -> None:
    """Set every batch norm's running mean and variance to the mean over the first batches of a pass, by the weights as they are.

    Norms in eval mode are frozen, and left alone; so are all other buffers, and the global random states.

    Args:
        workload: what is trained.
        model: in the mode it is trained in.
        seed: of the batches.
        most: how many batches at most, >= 1; no more than a pass has.
    """
    norms: list[Any] = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and _tracks(m)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    with ForwardState(model, [workload.total_loss]).preserved():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean of all batches
        try:
            _run(workload, model, seed, most)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
        statistics = [[buffer.clone() for buffer in norm.buffers()] for norm in norms]
    for norm, values in zip(norms, statistics, strict=True):
        for buffer, value in zip(norm.buffers(), values, strict=True):
            buffer.copy_(value)


def _tracks(norm: _BatchNorm) -> bool:
    return norm.running_mean is not None


def _run(workload: Workload, model: nn.Module, seed: int, most: int) -> None:
    device, passed = workload.torch_device, workload.steps_per_epoch
    if passed is not None:
        most = min(most, round(passed * workload.accumulate))
    with preserved_rng(device), torch.no_grad():
        seed_everything(seed)
        walk = BatchWalk(workload.train_data, "train_data", device, model=model)
        for batch in islice(walk, most):
            with autocast(device, workload.precision):
                workload.total_loss(model, batch)
        walk.close()
