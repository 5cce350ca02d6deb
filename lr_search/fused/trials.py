"""Several trainings of one workload in lockstep: on the same batches, or each on those of its seed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lr_search.errors import LRSearchError, WorkloadError
from lr_search.fused.lane import Lane, Member
from lr_search.fused.losses import FusedLoss
from lr_search.fused.metrics import FusedJudge, Judges
from lr_search.fused.seed_batches import SeededWalks, SeedsApartError, stack_batches
from lr_search.fused.stack import Stack
from lr_search.fused.support import LOOPED, TOLERANCE_BY_PRECISION, Support
from lr_search.fused.updates import Layout, RowUpdate, StackedUpdate, Update
from lr_search.optimizers.param_groups import held_tensors
from lr_search.rng import RNGState, preserved_rng
from lr_search.training.batch_fault import batch_fault_of
from lr_search.training.course import TRAINING_BLOCK
from lr_search.training.step import autocast
from lr_search.workloads.optimizer_forms import of_parameters

COMPACT_SHARE = 1 / 8  # of the rows; when so many have ended, the others are moved together


class FusedTraining:
    """Trains every member as `Training` does, to rounding, and all with one forward and backward pass a step.

    Iterate over it: each item is the `Lane`s that have been evaluated or have ended, or both; the consumer may `cut` them. A lane
    that is over is trained no further, and a diverged one moves no other.

    Args:
        members: what to train: workloads that differ in their optimizer at most.
        seeds: of the weights, the batches and everything the models draw: one of all, or each member's. Several only for models
            that draw nothing.
        support: what is known of the workloads, one for each member.

    Attributes:
        lanes: in the order of the members.

    Raises:
        SeedsApartError: the models or batches of several seeds differ in more than what a step moves, and in numbers.
    """

    def __init__(self, members: Sequence[Member], seeds: int | Sequence[int], support: Sequence[Support]) -> None:
        first = members[0].workload
        each = [seeds] * len(members) if isinstance(seeds, int) else list(seeds)
        self._seeds = list(dict.fromkeys(each))
        self._workload, self._device = first, first.torch_device
        self._step, self._begun = 0, False
        with preserved_rng(self._device):
            self._walks = SeededWalks(self._device, first.accumulate)
            models, optimizer = self._begin_seeds()
            self._rng = RNGState.capture(self._device)
            named = dict(models[0].named_parameters())
            self._stack = Stack(models[0], [named[name] for name in support[0].trained], len(members))
            idle = idle_parameters(optimizer, self._stack)
            self._judges = Judges(self._make_judges(support[0]))
            self.lanes = [
                Lane(index, member, seed, self._judges[seed])
                for index, (member, seed) in enumerate(zip(members, each, strict=True))
            ]
            self._updates = self._make_updates(support)
            own_batches = len(self._seeds) > 1
            self._loss = FusedLoss(
                self._stack, first.total_loss, first.precision,
                draws=support[0].draws, batch_dim=0 if own_batches else None, idle=idle,
            )  # fmt: skip
            self._lay_lrs()
            if own_batches:
                for lane in self.lanes:
                    self._stack.fill(lane.row, models[self._seeds.index(lane.seed)])
                self._require_stackable(models)

    def _begin_seeds(self) -> tuple[list[nn.Module], torch.optim.Optimizer]:
        """A model of each seed, the first one's optimizer, and the batches of all."""
        models, optimizers = [], []
        for seed in self._seeds:
            model, optimizer, batches = self._workload.begin(seed)
            batches.remember((TRAINING_BLOCK + 1) * self._workload.accumulate)
            self._walks.add(batches, seed)
            models.append(model)
            optimizers.append(optimizer)
        return models, of_parameters(self._workload.optimizer, optimizers[0])[1]

    def _make_judges(self, support: Support) -> dict[int, FusedJudge]:
        """One for each seed, whose validation data are opened under the random state that its training has."""
        judges: dict[int, FusedJudge] = {}
        for index, seed in enumerate(self._seeds):
            self._walks.restore(index)
            judges[seed] = FusedJudge(self._workload, seed, self._stack, fused=support.metrics)
        return judges

    def _require_stackable(self, models: Sequence[nn.Module]) -> None:
        """Raise if the first losses of several seeds' models, each on its own batch, are not those of each by itself."""
        work, batches = self._workload, self._walks.first()
        kept = [buffer.clone() for buffer in self._stack.buffers]
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("error", message=LOOPED)
            together = self._loss(stack_batches(batches, self._row_seeds))
            for buffer, value in zip(self._stack.buffers, kept, strict=True):
                buffer.copy_(value)
            for index, (model, batch) in enumerate(zip(models, batches, strict=True)):
                with autocast(self._device, work.precision):
                    alone = work.total_loss(model, batch).reshape(())
                found = together[self._row_seeds.index(index)]
                if not torch.allclose(
                    found, alone, rtol=TOLERANCE_BY_PRECISION[work.precision], atol=1e-6, equal_nan=True
                ):
                    raise SeedsApartError("models of several seeds that differ in trained parameters and buffers only")

    def _make_updates(self, support: Sequence[Support]) -> list[tuple[Update, list[Lane]]]:
        """The optimizers, each for the lanes that share it; the stack's rows are in their order."""

        def key(lane: Lane) -> tuple[int, tuple[float | None, ...]]:
            stacked = support[lane.index].stacks
            first = next(i for i, other in enumerate(self.lanes) if other.workload.optimizer is lane.workload.optimizer)
            return first, tuple(lane.momenta) if stacked else ()

        groups: dict[tuple[int, tuple[float | None, ...]], list[Lane]] = {}
        for lane in self.lanes:
            groups.setdefault(key(lane), []).append(lane)
        updates: list[tuple[Update, list[Lane]]] = []
        row = 0
        for (first, _), lanes in groups.items():
            workload = self.lanes[first].workload
            kind = StackedUpdate if support[first].stacks else RowUpdate
            factory, optimizer = of_parameters(workload.optimizer, workload.build_optimizer(self._stack.model))
            update = kind(self._stack, Layout(self._stack, optimizer), factory, (row, row + len(lanes)))
            updates.append((update, list(lanes)))
            for lane in lanes:
                lane.row, row = row, row + 1
        return updates

    def _lay_lrs(self) -> None:
        """The LR of every step and row, once on the device."""
        self._rows = sorted((lane for _, lanes in self._updates for lane in lanes), key=lambda lane: lane.row)
        self._row_seeds = [self._seeds.index(lane.seed) for lane in self._rows]
        steps = np.arange(self._workload.num_steps)
        self._lrs = np.stack([lane.schedule(steps) for lane in self._rows], axis=1)
        self._device_lrs = torch.as_tensor(self._lrs, dtype=self._stack.weights.dtype).to(self._device)[:, :, None]

    def __iter__(self) -> Iterator[list[Lane]]:
        while active := self._active():
            begun = time.perf_counter()
            seen = self._advance(active)
            for lane in active:
                lane.seconds += (time.perf_counter() - begun) / len(active)
            yield seen

    def advance(self, steps: int) -> None:
        """Take so many steps, and neither evaluate nor judge the losses: to see how long they take."""
        with preserved_rng(self._device):
            self._rng.restore()
            self._losses(self._step + steps).cpu()
            self._step += steps
            self._rng = RNGState.capture(self._device)

    def _active(self) -> list[Lane]:
        return [lane for lane in self.lanes if not lane.over]

    def _advance(self, active: list[Lane]) -> list[Lane]:
        """Train to the next evaluation of any lane, or until one has ended. Returns: those that were evaluated or have ended."""
        self._compact()
        with preserved_rng(self._device):
            self._rng.restore()
            if self._begun:
                self._run_block(
                    active, min(lane.next_checkpoint(evaluated=True) or lane.workload.num_steps for lane in active)
                )
            self._begun = True
            self._evaluate([lane for lane in active if lane.due(self._step)])
            self._rng = RNGState.capture(self._device)
        return [lane for lane in active if lane.over or lane.evaluation is not None]

    def _run_block(self, active: list[Lane], target: int) -> None:
        """Take steps up to `target`, or a block of them, then read their losses at once."""
        until = min(target, self._step + TRAINING_BLOCK)
        read = self._losses(until).cpu().double().numpy()  # (steps, rows)
        self._step = until
        for lane in active:
            lane.train_on(read[:, lane.row])
        for end, seed in sorted({(lane.step, lane.seed) for lane in active if lane.stopped == "diverged"}):
            self._require_sound(end, seed)

    def _require_sound(self, step: int, seed: int) -> None:
        """Raise if a lane diverged by the fault of a batch of that step, from 1, or of the step before."""
        number = 1 + (step - 1) * self._workload.accumulate
        fault = batch_fault_of(self._workload, seed, self._walks[self._seeds.index(seed)], number)
        if isinstance(fault, WorkloadError):
            raise fault

    def _losses(self, until: int) -> torch.Tensor:
        """Take the steps up to `until`. Returns: the losses before them, (steps, rows)."""
        steps = range(self._step, until)
        batches = self._walks.stacked(len(steps), self._row_seeds) if len(self._seeds) > 1 else self._walks.only()
        return torch.stack([self._one_step(step, next(batches)) for step in steps])

    def _one_step(self, step: int, drawn: list[Any]) -> torch.Tensor:
        """Take one step. Returns: the losses before it, (rows,)."""
        losses = self._loss.backward(drawn)
        clip_norm = self._workload.clip_norm
        if clip_norm is not None:
            clip(self._stack.gradients, clip_norm)
        lrs, at = self._device_lrs[step], self._lrs[step].tolist()
        row = 0
        for update, lanes in self._updates:
            rows = slice(row, row + len(lanes))
            row += len(lanes)
            update.step(lrs[rows], at[rows], [lane.momenta[step] for lane in lanes])
        return losses

    def _evaluate(self, due: list[Lane]) -> None:
        for lane in self.lanes:
            lane.evaluation = None
        if not due:
            return
        finite = self._stack.finite() if self._step else [True] * self._stack.width
        for lane in due:
            if not finite[lane.row]:
                lane.doubt = lane.non_finite_weight
                if self._step == self._workload.num_steps:
                    self._require_sound(self._step + 1, lane.seed)
                    lane.stop("diverged", lane.doubt)
        due = [lane for lane in due if not lane.doubt]
        for lane, metrics in zip(due, self._judged(due), strict=True):
            if metrics is None:
                lane.alone = True
                continue
            if not self._step:
                lane.judge.require_sound(lane.row, metrics)
            if lane.keeps:
                lane.kept.keep(lane.step, self._stack.loaded(lane.row))
            lane.judged(metrics)
        changed = [lane for lane in due if lane.decide()]
        if changed:
            self._lay_lrs()

    def _judged(self, due: list[Lane]) -> list[dict[str, float] | None]:
        """The metrics of each; None of one by itself whose metrics raise: why cannot be known here."""
        if self._judges.fused:
            return list(self._judges([(lane.seed, lane.row) for lane in due]))
        metrics: list[dict[str, float] | None] = []
        for lane in due:
            try:
                metrics += lane.judge([lane.row])
            except LRSearchError:
                raise
            except Exception:
                metrics.append(None)
        return metrics

    def _compact(self) -> None:
        """Let go of the rows of lanes that have ended, where these are enough to be worth it."""
        over = sum(lane.over for lane in self._rows)
        if over < COMPACT_SHARE * len(self._rows) or over in (0, len(self._rows)):
            return
        self._stack.keep([lane.row for lane in self._rows if not lane.over])
        updates: list[tuple[Update, list[Lane]]] = []
        row = 0
        for update, lanes in self._updates:
            left = [place for place, lane in enumerate(lanes) if not lane.over]
            if left:
                update.keep(left, row)
                updates.append((update, [lanes[place] for place in left]))
                for place in left:
                    lanes[place].row, row = row, row + 1
        self._updates = updates
        self._lay_lrs()

    def close(self) -> None:
        """Let go of the data."""
        self._walks.close()
        self._judges.close()


def idle_parameters(optimizer: torch.optim.Optimizer, stack: Stack) -> list[torch.Tensor]:
    """The parameters that the optimizer of the stack's own model holds and that no step moves."""
    moved = {id(parameter) for parameter in stack.parameters}
    held = held_tensors(optimizer.param_groups)
    return [parameter for parameter in held if parameter.requires_grad and id(parameter) not in moved]


def clip(gradients: torch.Tensor, clip_norm: float) -> None:
    """Clip each row's gradient to that norm, as torch.nn.utils.clip_grad_norm_ does one model's."""
    norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    gradients.mul_((clip_norm / (norms + 1e-6)).clamp(max=1.0))
