"""Judging the models of a stack together, on one pass over the validation data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.func import vmap
from torch.utils._pytree import tree_flatten

from lr_search.errors import WorkloadError
from lr_search.fused.stack import Stack
from lr_search.fused.vmap_attention import batchable_attention
from lr_search.rng import RNGState
from lr_search.state.capture import preserved_modes
from lr_search.training.evaluation import metric_total
from lr_search.training.judge import Judge, require_objective
from lr_search.training.step import autocast
from lr_search.workloads.batches import to_device
from lr_search.workloads.parts import Metrics, Precision
from lr_search.workloads.passes import one_pass
from lr_search.workloads.workload import Workload

Sums = Mapping[str, tuple[torch.Tensor, torch.Tensor]]  # metric -> its sums and counts over a batch, (rows,) each


class FusedMetrics:
    """A workload's metrics for several rows of a stack at once.

    Args:
        stack: the models.
        metrics: (model, batch) -> {name: value}, as a workload's.
        precision: fp32 or bf16.
    """

    def __init__(self, stack: Stack, metrics: Metrics, precision: Precision) -> None:
        self._stack, self._metrics, self._precision = stack, metrics, precision
        self._batched = vmap(self._one, in_dims=(0, 0, None), randomness="same")

    def _one(self, leaves: Any, buffers: Any, batch: Any) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        with self._stack.swapped(leaves, buffers) as model:
            values = self._metrics(model, batch)
        totals = {name: metric_total(name, value, batch) for name, value in values.items()}
        return {name: (total, torch.as_tensor(count, dtype=torch.float64)) for name, (total, count) in totals.items()}

    def __call__(self, rows: Sequence[int], batch: Any) -> Sums:
        """The sums over a batch of the rows' models, in the mode they are in."""
        leaves, buffers = self._stack.selected(rows)
        device = self._stack.weights.device
        with torch.no_grad(), batchable_attention(device), autocast(device, self._precision):
            sums: Sums = self._batched(leaves, buffers, batch)
        return sums


class FusedJudge:
    """Evaluates rows of a stack as `Training.evaluate` does a model.

    Args:
        workload: whose data and metrics.
        seed: of what a data set or model draws.
        stack: the models.
        fused: whether the metrics can be batched; if not, the models are judged one after the other.
    """

    def __init__(self, workload: Workload, seed: int, stack: Stack, *, fused: bool) -> None:
        self._workload, self._stack, self._alone = workload, stack, Judge(workload, seed)
        self._metrics = FusedMetrics(stack, workload.metrics_or_loss, workload.precision)
        self.fused = fused

    def model(self, model: nn.Module) -> dict[str, float]:
        """Judge another model than those of the stack."""
        return self._alone(model)

    def __call__(self, rows: Sequence[int]) -> list[dict[str, float]]:
        """Name -> mean over the examples, for each row; of one row where they cannot be judged together."""
        if not self.fused:
            return [self._alone(self._stack.loaded(row)) for row in rows]
        sums: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        model, device = self._stack.model, self._stack.weights.device
        with self._alone.opened(model) as batches, preserved_modes(model):
            model.eval()
            for batch in one_pass(batches, "valid_data"):
                for name, (total, count) in self._metrics(rows, to_device(batch, device)).items():
                    before = sums.get(name)
                    sums[name] = (total, count) if before is None else (before[0] + total, before[1] + count)
        return [require_objective(self._workload, means) for means in _means(sums, len(rows))]

    def data_digest(self) -> bytes | None:
        """What all seeds have in common whose validation batches are the same; None where only a pass for each seed will do."""
        digest, device = hashlib.blake2b(), self._stack.weights.device
        with self._alone.opened(self._stack.model) as batches, preserved_modes(self._stack.model):
            self._stack.model.eval()
            for number, batch in enumerate(one_pass(batches, "valid_data")):
                leaves, form = tree_flatten(batch)
                if not all(isinstance(leaf, torch.Tensor) for leaf in leaves):
                    return None
                digest.update(repr([form, *((leaf.dtype, leaf.shape) for leaf in leaves)]).encode())
                for leaf in leaves:
                    digest.update(leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
                if number == 0:
                    before = RNGState.capture(device)
                    self._metrics([0], to_device(batch, device))
                    if not before.same_in_torch():
                        return None
        return digest.digest()

    def require_sound(self, row: int, metrics: Mapping[str, float]) -> None:
        """Raise if the objective of a row that no step has moved is not finite; see `Judge.require_sound`."""
        self._alone.require_sound(self._stack.loaded(row), metrics)

    def close(self) -> None:
        """Let go of the data."""
        self._alone.close()


class Judges:
    """Evaluates rows of a stack, each as a training of its seed does; all on one pass where the validation data are the same.

    Args:
        by_seed: each seed's judge.
    """

    def __init__(self, by_seed: Mapping[int, FusedJudge]) -> None:
        self._by_seed = by_seed
        self._one_pass: bool | None = None if len(by_seed) > 1 else True
        self.fused = all(judge.fused for judge in by_seed.values())

    def __getitem__(self, seed: int) -> FusedJudge:
        """The judge of a seed's rows."""
        return self._by_seed[seed]

    def __call__(self, rows: Sequence[tuple[int, int]]) -> list[dict[str, float]]:
        """Name -> mean over the examples, for each seed and row, where they can be judged together."""
        if not rows:
            return []
        if self._one_pass is None:
            digests = {judge.data_digest() for judge in self._by_seed.values()}
            self._one_pass = len(digests) == 1 and None not in digests
        if self._one_pass:
            return self._by_seed[rows[0][0]]([row for _, row in rows])
        found: dict[int, dict[str, float]] = {}
        for seed, judge in self._by_seed.items():
            own = [row for row_seed, row in rows if row_seed == seed]
            found.update(zip(own, judge(own) if own else [], strict=True))
        return [found[row] for _, row in rows]

    def close(self) -> None:
        """Let go of the data."""
        for judge in self._by_seed.values():
            judge.close()


def _means(sums: Sums, rows: int) -> list[dict[str, float]]:
    if not sums:
        raise WorkloadError("valid_data must give batches, but got none. Check the data set's length and drop_last.")
    read = {name: (total.tolist(), count.tolist()) for name, (total, count) in sums.items()}
    return [
        {name: totals[row] / counts[row] if counts[row] else math.nan for name, (totals, counts) in read.items()}
        for row in range(rows)
    ]
