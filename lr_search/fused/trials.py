"""Several trainings of one workload and seed in lockstep, on the same batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from lr_search.errors import LRSearchError, WorkloadError
from lr_search.fused.lane import Lane, Member
from lr_search.fused.losses import FusedLoss
from lr_search.fused.metrics import FusedJudge
from lr_search.fused.stack import Stack
from lr_search.fused.support import Support
from lr_search.fused.updates import Layout, RowUpdate, StackedUpdate, Update
from lr_search.optimizers.param_groups import trainable
from lr_search.rng import RNGState, preserved_rng
from lr_search.training.batch_fault import batch_fault_of
from lr_search.training.course import TRAINING_BLOCK

COMPACT_SHARE = 1 / 8  # of the rows; when so many have ended, the others are moved together


class FusedTraining:
    """Trains every member as `Training` does, to rounding, and all with one forward and backward pass a step.

    Iterate over it: each item is the `Lane`s that have been evaluated or have ended, or both; the consumer may `cut` them. A lane
    that is over is trained no further, and a diverged one moves no other.

    Args:
        members: what to train: workloads that differ in their optimizer at most.
        seed: of the weights, the batches and everything the models draw.
        support: what is known of the workloads, one for each member.

    Attributes:
        lanes: in the order of the members.
    """

    def __init__(self, members: Sequence[Member], seed: int, support: Sequence[Support]) -> None:
        first = members[0].workload
        self._workload, self._seed, self._device = first, seed, first.torch_device
        self._step, self._begun = 0, False
        with preserved_rng(self._device):
            model, optimizer, self._batches = first.begin(seed)
            self._batches.remember((TRAINING_BLOCK + 1) * first.accumulate)
            self._rng = RNGState.capture(self._device)
            named = dict(model.named_parameters())
            self._stack = Stack(model, [named[name] for name in support[0].trained], len(members))
            idle = idle_parameters(optimizer, self._stack)
            self._judge = FusedJudge(self._workload, self._seed, self._stack, fused=support[0].metrics)
            self.lanes = [Lane(index, member, seed, self._judge) for index, member in enumerate(members)]
            self._updates = self._make_updates(support)
        self._loss = FusedLoss(self._stack, first.loss, first.precision, draws=support[0].draws, idle=idle)
        self._lay_lrs()

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
            layout = Layout(self._stack, workload.build_optimizer(self._stack.model))
            update = kind(self._stack, layout, workload.optimizer, (row, row + len(lanes)))
            updates.append((update, list(lanes)))
            for lane in lanes:
                lane.row, row = row, row + 1
        return updates

    def _lay_lrs(self) -> None:
        """The LR of every step and row, once on the device."""
        self._rows = sorted((lane for _, lanes in self._updates for lane in lanes), key=lambda lane: lane.row)
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
            torch.stack([self._one_step(step) for step in range(self._step, self._step + steps)]).cpu()
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
        begun, until, first = self._step, min(target, self._step + TRAINING_BLOCK), self._batches.total + 1
        losses = torch.stack([self._one_step(step) for step in range(self._step, until)])
        read = losses.cpu().double().numpy()  # (steps, rows)
        self._step = until
        for lane in active:
            lane.train_on(read[:, lane.row])
        ends = {lane.step for lane in active if lane.stopped == "diverged"}
        for end in sorted(ends):
            self._require_sound(first + (end - begun - 1) * self._workload.accumulate)

    def _require_sound(self, number: int) -> None:
        """Raise if a lane diverged by the fault of a batch of the step whose first has this number, or of the step before."""
        fault = batch_fault_of(self._workload, self._seed, self._batches, number)
        if isinstance(fault, WorkloadError):
            raise fault

    def _one_step(self, step: int) -> torch.Tensor:
        """Take one step. Returns: the losses before it, (rows,)."""
        drawn = [next(self._batches) for _ in range(self._workload.accumulate)]
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
                    self._require_sound(self._batches.total + 1)
                    lane.stop("diverged", lane.doubt)
        due = [lane for lane in due if not lane.doubt]
        for lane, metrics in zip(due, self._judged(due), strict=True):
            if metrics is None:
                lane.alone = True
                continue
            if not self._step:
                self._judge.require_sound(lane.row, metrics)
            if lane.keeps:
                lane.kept.keep(lane.step, self._stack.loaded(lane.row))
            lane.judged(metrics)
        changed = [lane for lane in due if lane.decide()]
        if changed:
            self._lay_lrs()

    def _judged(self, due: list[Lane]) -> list[dict[str, float] | None]:
        """The metrics of each; None of one by itself whose metrics raise: why cannot be known here."""
        if self._judge.fused:
            return list(self._judge([lane.row for lane in due]) if due else [])
        metrics: list[dict[str, float] | None] = []
        for lane in due:
            try:
                metrics += self._judge([lane.row])
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
        self._batches.close()
        self._judge.close()


def idle_parameters(optimizer: torch.optim.Optimizer, stack: Stack) -> list[torch.Tensor]:
    """The parameters that the optimizer of the stack's own model holds and that no step moves."""
    moved = {id(parameter) for parameter in stack.parameters}
    held = trainable(optimizer.param_groups)
    return [parameter for parameter in held if parameter.requires_grad and id(parameter) not in moved]


def clip(gradients: torch.Tensor, clip_norm: float) -> None:
    """Clip each row's gradient to that norm, as torch.nn.utils.clip_grad_norm_ does one model's."""
    norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    gradients.mul_((clip_norm / (norms + 1e-6)).clamp(max=1.0))
