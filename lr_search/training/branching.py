"""Warmup-stable-decay trainings of several lengths that share their stable part (Hu et al., "MiniCPM", 2024, arXiv:2404.06395)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from lr_search.errors import WorkloadError, quoted, require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import NumSteps, PositiveLR, Seed, Steps
from lr_search.schedules.base import MOST_STEPS, Schedule
from lr_search.schedules.compose import warmup
from lr_search.schedules.decay import Constant
from lr_search.schedules.wsd import wsd
from lr_search.state.forward_state import ForwardState
from lr_search.training.course import Stopped
from lr_search.training.evaluation import Evaluation
from lr_search.training.training import Training
from lr_search.workloads.workload import Workload

MOST_LENGTHS = 1000


@checked
def branches(
    workload: Workload,
    lr: PositiveLR,
    lengths: Sequence[int],
    *,
    seed: Seed = 0,
    warmup_steps: Steps = 0,
    decay_share: float = 0.2,
    decay: Literal["1-sqrt", "linear"] = "1-sqrt",
    final_ratio: float = 0.0,
    stable: bool = False,
) -> Branches:
    """Train several lengths of warmup-stable-decay, the stable part once: a cooled-down model at each length.

    Each branch is, to the bit, what `train` gives under `by_name("wsd", lr, length, warmup_steps=0)` with that many steps: weights,
    evaluations and how it ended. The trunk is trained at the constant LR; where a length's decay begins, the whole training is
    copied, and the copy cooled down; the longest goes on itself. With a decay of a fifth, 300, 1000 and 3000 steps cost 3260, not
    4300. A copy finds its place in the data by drawing the batches of the present pass again.

    Args:
        workload: what is trained; its `num_steps` does not count.
        lr: the LR of the stable part, > 0.
        lengths: steps of each training, different ones, each at least `warmup_steps + 2`; in any order.
        seed: of the weights, the batches and everything the model draws.
        warmup_steps: of a linear warm-up, the same for every length, >= 0: a share of each would part the trunks.
        decay_share: the decay's share of the steps after the warm-up, above 0 and at most 1.
        decay: its form.
        final_ratio: the last LR / lr, in [0, 1].
        stable: also train on at the constant LR to the longest length, and evaluate it at each.

    Returns:
        The branches, in order of length, each trained when it is asked for; `.at(length)` is one of them, `.steps` what they cost.

    Raises:
        InvalidInputError: a number breaks its rule.
        WorkloadError: the workload cannot be trained; later, that its data are at fault.

    Reference:
        Hu et al., "MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training Strategies", 2024,
        arXiv:2404.06395, section 4. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations",
        2024, arXiv:2405.18392.

    >>> import torch
    >>> batches = torch.linspace(-1, 1, 32).reshape(4, 8, 1)
    >>> workload = Workload(
    ...     model=lambda: torch.nn.Linear(1, 1),
    ...     optimizer=torch.optim.SGD,
    ...     loss=lambda model, x: ((model(x) - 3 * x) ** 2).mean(),
    ...     train_data=lambda: batches,
    ...     valid_data=lambda: batches,
    ... )
    >>> cooled = branches(workload, 0.03, lengths=[20, 50, 100])
    >>> [(branch.num_steps, round(branch.evaluations[-1].metrics["loss"], 3)) for branch in cooled], cooled.steps
    ([(20, 1.424), (50, 0.444), (100, 0.065)], 114)
    """
    require(0 < len(lengths) <= MOST_LENGTHS, f"lengths must be from 1 to {MOST_LENGTHS:,} of them", lengths=lengths)
    require(len(set(lengths)) == len(lengths), "lengths must differ from each other", lengths=lengths)
    rule = f"each length must be at least warmup_steps + 2 and at most {MOST_STEPS:,} steps"
    fits = warmup_steps + 2 <= min(lengths) <= max(lengths) <= MOST_STEPS
    require(fits, rule, lengths=lengths, warmup_steps=warmup_steps)
    forks = []
    for length in sorted(lengths):
        after = wsd(lr, length - warmup_steps, decay_share=decay_share, decay=decay, final_ratio=final_ratio)
        begin = math.floor(length - after.decay_steps)
        forks.append(Fork(length, begin, _warmed(after, warmup_steps)))
    trunk = _warmed(Constant(lr), warmup_steps) if stable else forks[-1].schedule
    return Branches(workload, forks, trunk, seed=seed, stable=stable)


def _warmed(schedule: Schedule, warmup_steps: int) -> Schedule:
    return warmup(schedule, warmup_steps) if warmup_steps else schedule


@checked
@dataclass(frozen=True)
class Branch:
    """One training of those that share their stable part: trained to its end.

    Args:
        num_steps: of it.
        schedule: of it, from its first step.
        evaluations: of it, from step 0 to its end; those of the stable part are the same in each branch.
        model: cooled down. Of a training that diverged, what its last steps left, which are not those of `train`; where it was
            the stable part, one model for all that would have left it later.
        stopped: "finished" or "diverged".
        reason: why it stopped, in words.
        stable: what a training that stays at the constant LR is at its end, of as many steps; None where it was not asked for,
            or diverged.
    """

    num_steps: NumSteps
    schedule: Schedule
    evaluations: list[Evaluation]
    model: nn.Module
    stopped: Stopped
    reason: str
    stable: Evaluation | None = None


@dataclass(frozen=True)
class Fork:
    """Where a length leaves the trunk.

    Args:
        length: steps of the whole training.
        begin: steps after which it goes its own way, at most the first whose LR is another.
        schedule: of the whole training.
    """

    length: int
    begin: int
    schedule: Schedule


@checked
class Branches(Iterable[Branch]):
    """The branches of one stable training, in order of length; made by `branches()`.

    Each is trained when it is first asked for, and kept. Beside the trunk no more than one copy of the training is held at a time,
    and the finished models.

    Attributes:
        lengths: of the branches, in rising order.
    """

    def __init__(
        self, workload: Workload, forks: Sequence[Fork], trunk: Schedule, *, seed: Seed = 0, stable: bool = False
    ) -> None:
        self._workload, self._seed, self._trunk_schedule = workload, seed, trunk
        self.lengths = [fork.length for fork in forks]
        self._forks = {fork.length: fork for fork in forks}
        self._trunk = self._training(self.lengths[-1], trunk)
        self._shared: list[Evaluation] = []  # the trunk's
        self._cooldown_steps = 0
        self._branches: dict[int, Branch] = {}
        self._stops = sorted(  # of the trunk: where a length is forked off, and where it is read at the constant LR
            [(fork.begin, fork.length) for fork in forks] + [(length, length) for length in self.lengths if stable]
        )
        self._closed = False

    def __iter__(self) -> Iterator[Branch]:
        """Each branch as soon as it is trained; those that are there already at once."""
        for length in self.lengths:
            yield self.at(length)

    def at(self, length: int) -> Branch:
        """The branch of that length, trained now if it is not there yet, and those that come before it.

        Raises:
            InvalidInputError: there is no such branch, or the branches were closed before it was trained.
        """
        rule = f"length must be on these branches, which are {quoted(self.lengths)}"
        require(length in self._forks, rule, "Name it in lengths.", length=length)
        while any(stop == length for _, stop in self._stops):
            rule = "a branch must be asked for before the branches are closed"
            require(not self._closed, rule, "Call branches(...) again.", length=length)
            try:
                self._train_on()
            except BaseException:  # the trunk may be in the middle of a step
                self.close()
                raise
        return self._branches[length]

    @property
    def steps(self) -> int:
        """Optimizer steps taken so far, of the trunk and of all cooldowns."""
        return self._trunk.step + self._cooldown_steps

    def close(self) -> None:
        """Train no further, and let go of the data; what is trained stays."""
        self._closed = True
        self._trunk.close()

    def _train_on(self) -> None:
        """Take the trunk to its next stop, and do there what is to be done."""
        step, length = self._stops[0]
        self._take_trunk_to(step)
        if length in self._branches:
            self._branches[length] = replace(self._branches[length], stable=self._read(length))
        else:
            self._branches[length] = self._cooled(self._forks[length])
        self._stops.pop(0)
        if not self._stops:
            self.close()

    def _take_trunk_to(self, step: int) -> None:
        trunk = self._trunk
        while trunk.stopped is None:
            due = trunk.next_evaluation()
            if due is None or due > step:
                trunk.advance(step)
                return
            self._shared += [] if (evaluation := next(trunk, None)) is None else [evaluation]

    def _cooled(self, fork: Fork) -> Branch:
        if self._trunk.stopped == "diverged" or fork.schedule == self._trunk_schedule:
            return self._finished(fork, self._trunk)
        with self._trunk_kept():
            training = self._copied(fork.length, fork.schedule)
            try:
                return self._finished(fork, training)
            finally:
                self._cooldown_steps += training.step - fork.begin
                training.close()

    def _finished(self, fork: Fork, training: Training) -> Branch:
        evaluations = [*self._shared, *training]
        assert training.stopped is not None
        for parameter in training.model.parameters():
            parameter.grad = None  # a branch is kept, and its gradients would take as much as its weights
        return Branch(fork.length, fork.schedule, evaluations, training.model, training.stopped, training.reason)

    def _read(self, length: int) -> Evaluation | None:
        """The evaluation at the trunk's present step, where a training of that length ends; None where it has diverged."""
        if self._trunk.stopped == "diverged":
            return None
        if self._shared[-1].step == length:
            return self._shared[-1]
        with self._trunk_kept():
            training = self._copied(length, self._trunk_schedule)
            last = next(training, None)
            training.close()
        return last

    def _trunk_kept(self) -> AbstractContextManager[None]:
        """Inside, another training may use modules that the trunk uses too: the loss's, frozen layers that its models share."""
        return ForwardState(self._trunk.model, [self._workload.total_loss, self._workload.metrics]).preserved()

    def _copied(self, num_steps: int, schedule: Schedule) -> Training:
        """A training of as many steps that goes on from where the trunk is; it shares no tensor with it."""
        training = self._training(num_steps, schedule)
        trained = {id(parameter) for parameter in self._trunk.model.parameters() if parameter.requires_grad}
        if trained & {id(parameter) for parameter in training.model.parameters()}:
            raise WorkloadError(
                "model must make a new module each time it is called, but gave the same parameters twice: the branches would train "
                "each other's weights. Build the module inside the function, or copy it there: copy.deepcopy(module)."
            )
        training.load_state_dict(self._trunk.state_dict())
        return training

    def _training(self, num_steps: int, schedule: Schedule) -> Training:
        return Training(replace(self._workload, num_steps=num_steps), schedule, seed=self._seed)
