"""Where a new training of a workload begins: its weights, and the batches that its seed gives."""

from __future__ import annotations

from lr_search.rng import seed_everything
from lr_search.training.step import Stepper
from lr_search.workloads.batches import BatchWalk
from lr_search.workloads.workload import Workload


def start(workload: Workload, seed: int) -> tuple[Stepper, BatchWalk]:
    """A new model with what steps it, and its batches; both depend on the seed alone. Draws from the global generators."""
    seed_everything(seed)
    model, optimizer = workload.build()
    stepper = Stepper(
        model, optimizer, workload.loss, workload.torch_device,
        accumulate=workload.accumulate, clip_norm=workload.clip_norm, precision=workload.precision,
    )  # fmt: skip
    seed_everything(seed)  # however many numbers the weights took
    return stepper, BatchWalk(workload.train_data, "train_data", workload.torch_device)
