"""The range tests of several seeds in one fused ramp."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lr_search.curves.curve import LRCurve
from lr_search.errors import LRSearchError, WorkloadError, user_code
from lr_search.fused.losses import FusedLoss
from lr_search.fused.seed_batches import SeededWalks
from lr_search.fused.stack import Stack
from lr_search.fused.support import Support, known_support
from lr_search.fused.trials import clip, idle_parameters
from lr_search.fused.updates import Layout, RowUpdate, StackedUpdate
from lr_search.fused.width import fitting_width
from lr_search.optimizers.param_groups import group_ratios
from lr_search.ramp.extending import begins_too_high, may_go_on
from lr_search.ramp.gain_meter import GAIN_COLUMNS
from lr_search.ramp.record import RampRecord, rounding_of
from lr_search.ramp.run import RAMP_BLOCK, passes_of
from lr_search.ramp.settings import RampSettings, planned_for
from lr_search.rng import preserved_rng
from lr_search.training.batch_fault import batch_fault_of
from lr_search.workloads.optimizer_forms import of_parameters
from lr_search.workloads.workload import Workload

QUICK_BYTES = 2**24  # of all models of a stack, by `Support.row_bytes`


def ramps_fuse(support: Support, settings: RampSettings) -> bool:
    """Whether range tests of a workload can be fused."""
    return not (support.reason or support.draws or settings.valid_batches)


def fused_range_tests(workload: Workload, settings: RampSettings, *, seeds: Sequence[int]) -> list[LRCurve] | None:
    """The curves of several seeds, as each by itself would record them, to rounding.

    Args:
        workload: what is trained.
        settings: of the range tests.
        seeds: of the weights and the batches.

    Returns:
        A curve for each seed; None where they cannot be fused. No timing has a say: the same seeds give the same bits.
    """
    support = known_support(workload, seeds[0])
    if not ramps_fuse(support, settings):
        return None
    device = workload.torch_device
    width = min(len(seeds), fitting_width(support, device, own_batches=True), _quick_width(support, device))
    if width == 1:
        return None
    curves: list[LRCurve] = []
    for part in np.array_split(np.asarray(seeds), -(-len(seeds) // width)):
        try:
            with user_code:
                curves += _FusedRamp(workload, settings, [int(seed) for seed in part], support).run()
        except LRSearchError:
            raise
        except Exception:  # batches that cannot be stacked, or an exception of one of them: each by itself shows which
            return None
    if any(
        may_go_on(curve, settings) or begins_too_high(curve, settings) for curve in curves
    ):  # beyond its ends each by itself
        return None
    return [planned_for(workload, curve) for curve in curves]


def _quick_width(support: Support, device: torch.device) -> int:
    """How many models gain by being stacked: on a CPU those that its cache holds; the steps of large ones are arithmetic anyway."""
    return sys.maxsize if device.type != "cpu" else max(1, QUICK_BYTES // max(1, support.row_bytes))


class _FusedRamp:
    """Models of several seeds, each on its own batches, that step at the same LR."""

    def __init__(self, workload: Workload, settings: RampSettings, seeds: Sequence[int], support: Support) -> None:
        self._workload, self._settings, self._seeds = workload, settings, seeds
        self._measured = settings.gain_ratio is not False
        with preserved_rng(workload.torch_device):
            models, optimizers = [], []
            self._walks = SeededWalks(workload.torch_device, workload.accumulate)
            for seed in seeds:
                model, optimizer, batches = workload.begin(seed)
                batches.remember((RAMP_BLOCK + 1) * workload.accumulate)
                self._plan = passes_of(batches, workload.accumulate)
                self._walks.add(batches, seed)
                models.append(model)
                optimizers.append(optimizer)
        factory, self._optimizer = of_parameters(workload.optimizer, optimizers[0])
        named = dict(models[0].named_parameters())
        self._stack = Stack(models[0], [named[name] for name in support.trained], len(models))
        for row, model in enumerate(models):
            self._stack.fill(row, model)
        kind = StackedUpdate if support.stacks else RowUpdate
        layout = Layout(self._stack, self._optimizer)
        self._update = kind(self._stack, layout, factory, (0, len(seeds)))
        idle = idle_parameters(self._optimizer, self._stack)
        self._loss = FusedLoss(
            self._stack, workload.total_loss, workload.precision, draws=False, batch_dim=0, idle=idle
        )
        self._num_weights = sum(parameter.numel() for parameter in [*self._stack.parameters, *idle])
        self._still = float(sum(parameter.detach().square().sum() for parameter in idle))
        self._rows: list[torch.Tensor] = []
        self._writes: bool | None = None  # whether the optimizer's step writes into the gradients

    def run(self) -> list[LRCurve]:
        """Take the steps until every curve has ended."""
        lrs = self._settings.lrs()
        every_step = self._settings.gain_ratio is True
        records = [RampRecord(self._settings.ramp, every_step=every_step) for _ in self._seeds]
        try:
            for begin in range(0, len(lrs), RAMP_BLOCK):
                self._block(lrs[begin : begin + RAMP_BLOCK].tolist(), records, first=begin == 0)
                if all(record.stopped != "finished" for record in records):
                    break
        finally:
            self._walks.close()
        ratios = group_ratios(self._optimizer)
        return [record.curve([self._optimizer], ratios, self._num_weights, self._plan) for record in records]

    def _block(self, lrs: list[float], records: list[RampRecord], *, first: bool) -> None:
        asked = [record.to_measure(lrs) for record in records]
        running = [each for each, record in zip(asked, records, strict=True) if record.stopped == "finished"]
        again = [any(each) for each in zip(*running, strict=True)]
        with preserved_rng(self._workload.torch_device):
            batches = self._walks.stacked(len(lrs), range(len(self._seeds)))
            losses = torch.stack([self._step(*each) for each in zip(batches, lrs, again, strict=True)])
        values = losses.cpu().double().numpy()  # (steps, seeds)
        rows = torch.stack(self._rows).cpu().numpy() if self._rows else np.empty((0, GAIN_COLUMNS, len(records)))
        self._rows = []
        for index, record in enumerate(records):
            if record.stopped != "finished":
                continue
            all_finite = record.take(lrs, values[:, index])
            if first and not np.isfinite(values[0, index]):
                raise FloatingPointError("the first loss is not finite")
            if not all_finite:
                self._require_sound(index, record)
            if len(rows):
                record.rounding = rounding_of(losses.dtype, self._workload.precision, self._stack.weights.dtype)
                record.forwards += first + sum(asked[index])
                rows[~np.array(asked[index]), 1, index] = np.nan  # measured for another seed
                record.take_rows(rows[:, :, index])

    def _require_sound(self, index: int, record: RampRecord) -> None:
        """Raise if a curve ended by the fault of a batch."""
        number = 1 + record.recorded * self._workload.accumulate
        fault = batch_fault_of(self._workload, self._seeds[index], self._walks[index], number)
        if isinstance(fault, WorkloadError):
            raise fault

    def _step(self, drawn: list[Any], lr: float, again: bool) -> torch.Tensor:
        """Take one step, and evaluate the losses again after it or not. Returns: the losses before it, (seeds,)."""
        stack, clip_norm = self._stack, self._workload.clip_norm
        losses = self._loss.backward(drawn)
        gradients, before = stack.gradients, stack.weights.clone() if self._measured else None
        if self._measured and (clip_norm is not None or self._writes is not False):
            gradients = gradients.clone()
        if clip_norm is not None:
            clip(stack.gradients, clip_norm)
        count, version = len(self._seeds), stack.gradients._version
        at = torch.full((count, 1), lr, dtype=stack.weights.dtype, device=stack.weights.device)
        self._update.step(at, [lr] * count, [None] * count)
        self._writes = self._writes or stack.gradients._version != version
        if before is not None:
            self._measure(losses, self._again(drawn) if again else torch.full_like(losses, math.nan), before, gradients)
        return losses

    @torch.no_grad()
    def _measure(
        self, losses: torch.Tensor, after: torch.Tensor, before: torch.Tensor, gradients: torch.Tensor
    ) -> None:
        """The parts of the gain ratio; see `GainMeter`. `before` is written over."""
        weight_norms = (_norms(before).square() + self._still).sqrt()
        moved = before.sub_(self._stack.weights)
        predicted = torch.linalg.vecdot(moved, gradients)
        row = [losses, after, predicted, _norms(moved), weight_norms, _norms(gradients)]
        self._rows.append(torch.stack([value.float() for value in row]))

    @torch.no_grad()
    def _again(self, drawn: list[Any]) -> torch.Tensor:
        """The losses of the step's batches by the weights as they are now, (seeds,); buffers are left alone."""
        kept = [buffer.clone() for buffer in self._stack.buffers]
        total = torch.stack([self._loss(batch) for batch in drawn]).mean(dim=0)
        for buffer, value in zip(self._stack.buffers, kept, strict=True):
            buffer.copy_(value)
        return total


def _norms(rows: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(rows, dim=1)
    return norms
