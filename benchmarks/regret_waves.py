"""The trainings of a truth, several at once: a constant trunk a row, and copies of all rows that cool down beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lr_search import Workload
from lr_search.fused.lane import Lane, Member
from lr_search.fused.support import Support
from lr_search.fused.trials import FusedTraining
from lr_search.rng import preserved_rng
from lr_search.schedules.base import Schedule
from lr_search.schedules.decay import Constant
from lr_search.schedules.named import by_name
from lr_search.schedules.wsd import wsd

Losses = dict[int, float | None]  # length -> final validation loss, None where it diverged


class Trunks(FusedTraining):
    """Constant trainings of one seed, a row each, whose copies may go on under other schedules."""

    def read(self) -> list[float | None]:
        """The validation loss of each row as it is now; None where it cannot be judged."""
        with preserved_rng(self._device):
            found = self._judged(self._rows)
        return [None if metrics is None else metrics["loss"] for metrics in found]

    def fork(self, schedules: Sequence[Schedule]) -> None:
        """Each row a second time, below the others: the copies go on under these schedules."""
        ((update, lanes),) = self._updates
        rows = [*range(len(lanes)), *range(len(lanes))]
        self._stack.keep(rows)
        update.keep(rows, 0)
        copies = [self._copy(lane, schedule) for lane, schedule in zip(lanes, schedules, strict=True)]
        self._updates = [(update, [*lanes, *copies])]
        self._lay_lrs()

    def _copy(self, lane: Lane, schedule: Schedule) -> Lane:
        made = Lane(len(self.lanes) + lane.row, Member(self._workload, schedule), lane.seed, self._judges[lane.seed])
        made.row = len(self.lanes) + lane.row
        return made

    def drop_copies(self) -> None:
        """Let go of the copies."""
        ((update, lanes),) = self._updates
        rows = list(range(len(self.lanes)))
        self._stack.keep(rows)
        update.keep(rows, 0)
        self._updates = [(update, lanes[: len(rows)])]
        self._lay_lrs()


def trunk_wave(
    workload: Workload, support: Support, lrs: Sequence[float], lengths: Sequence[int], seed: int
) -> tuple[float | None, list[dict[str, Losses]], int]:
    """What `lr_search.branches(..., stable=True)` gives of each LR, to rounding.

    Returns: the loss before the first step, each LR's losses of "constant" and "wsd", and the steps taken.
    """
    longest = replace(workload, num_steps=max(lengths), eval_every=max(lengths))
    trunks = Trunks([Member(longest, Constant(lr)) for lr in lrs], seed, [support] * len(lrs))
    found: list[dict[str, Losses]] = [{"constant": {}, "wsd": {}} for _ in lrs]
    initial, done, steps = trunks.read()[0], 0, 0
    try:
        for length in sorted(lengths):
            schedules = [wsd(lr, length) for lr in lrs]
            begin = int(length - schedules[0].decay_steps)
            trunks.advance(begin - done)
            trunks.fork(schedules)
            trunks.advance(length - begin)
            read = trunks.read()
            trunks.drop_copies()
            for row, losses in enumerate(found):
                losses["constant"][length], losses["wsd"][length] = read[row], read[len(lrs) + row]
            steps += len(lrs) * (length - done + length - begin)
            done = length
    finally:
        trunks.close()
    return initial, found, steps


def plain_wave(
    workload: Workload, support: Support, schedule: str, lrs: Sequence[float], length: int, seed: int
) -> tuple[float | None, list[float | None], int]:
    """The final validation loss of each LR under a schedule by name, None where it diverged; as `trunk_wave`."""
    of_length = replace(workload, num_steps=length, eval_every=length)
    members = [Member(of_length, by_name(schedule, lr, length, of_length.steps_per_epoch)) for lr in lrs]
    fused = FusedTraining(members, seed, [support] * len(lrs))
    initial: float | None = None
    final: list[float | None] = [None] * len(lrs)
    try:
        for seen in fused:
            for lane in seen:
                if lane.evaluation is not None and lane.step == 0:
                    initial = lane.evaluation.metrics["loss"]
                elif lane.evaluation is not None and lane.stopped == "finished":
                    final[lane.index] = lane.evaluation.metrics["loss"]
    finally:
        fused.close()
    return initial, final, sum(lane.step for lane in fused.lanes)
