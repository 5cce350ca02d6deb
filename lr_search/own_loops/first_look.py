"""The first steps of a training function: what its trainings begin with, and that it can be trained at all."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.parameter import UninitializedParameter

from lr_search.errors import LRSearchError, Stop, WorkloadError, error_text, user_code
from lr_search.own_loops.function_state import seeded_call
from lr_search.own_loops.stop_swallowed import stop_swallowed_told
from lr_search.own_loops.training_run import TrainingRun
from lr_search.schedules.base import Schedule
from lr_search.schedules.decay import Constant
from lr_search.training.evaluation import Evaluation
from lr_search.workloads.trainable import Trainable
from lr_search.workloads.workload import PROBE_LR

FIRST_STEPS = 3
STILL_LR = 1e-10  # moves no weight, so that what is reported is of the untrained model
MOVING_LR = 1e-2  # moves a model so far that it is seen
PACE_STEPS, PACE_SECONDS = 100, 0.5  # of the steps that are timed


@dataclass
class FirstLook:
    """What a training function began with.

    Args:
        losses: of its first steps.
        optimizers: that it attached, after these; none where it attaches none.
        weights: their parameters as they were attached, by group and place.
        metrics: what it reported of the model, which is as untrained.
        times: the LR of each optimizer's first group over that of the first.
        step_ends: when each step ended, in seconds.
        pasted: the code of the answer, where a trainer's callback knew it.
    """

    losses: list[float] = field(default_factory=list)
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    step_ends: list[float] = field(default_factory=list)
    pasted: str = ""

    @property
    def optimizer_class(self) -> type[torch.optim.Optimizer] | None:
        """Of the first optimizer; None where none is attached."""
        return type(self.optimizers[0]) if self.optimizers else None


class LookListener:
    """Looks at the first steps, then ends the training.

    Args:
        steps: how many.
        seconds: end it after that time, too.
    """

    def __init__(self, steps: int, seconds: float = float("inf")) -> None:
        self.look, self._steps, self._until = FirstLook(), steps, time.perf_counter() + seconds

    def attached(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """See `Listener`."""
        self.look.optimizers = list(optimizers)
        lrs = [float(each.param_groups[0]["lr"]) for each in optimizers]
        self.look.times = [lr / lrs[0] if lrs[0] else 1.0 for lr in lrs]
        groups = [group["params"] for optimizer in optimizers for group in optimizer.param_groups]
        held = {f"{g}.{p}": each for g, group in enumerate(groups) for p, each in enumerate(group)}
        self.look.weights = {name: each.detach().clone() for name, each in held.items() if not is_lazy(each)}

    def stepped(self, step: int) -> str:
        """See `Listener`."""
        self.look.step_ends.append(time.perf_counter())
        over = step > self._steps or (step > FIRST_STEPS and self.look.step_ends[-1] > self._until)
        return "enough was seen of its first steps" if over else ""

    def lost(self, losses: Mapping[int, float]) -> str:
        """See `Listener`."""
        self.look.losses += losses.values()
        return ""

    def reported(self, evaluation: Evaluation, due: bool) -> tuple[str, Schedule | None]:
        """See `Listener`."""
        self.look.metrics = dict(evaluation.metrics)
        return "", None


def is_lazy(parameter: torch.Tensor) -> bool:
    """Whether its shape is not known yet."""
    return isinstance(parameter, UninitializedParameter)


def first_look(trainable: Trainable, seed: int, lr: float = STILL_LR) -> FirstLook:
    """The first steps of a training of that seed, at an LR that moves nothing, and a report after them.

    Args:
        trainable: the training function, which is told to end after these steps.
        seed: of its generators.
        lr: another one.

    Raises:
        WorkloadError: it raised an exception, or took no step.
    """
    steps = min(FIRST_STEPS, trainable.num_steps)
    listener = LookListener(steps)
    run = TrainingRun(trainable, Constant(lr), listener, seed=seed, num_steps=steps, purpose="look")
    _call(trainable, run, seed)
    if not run.steps_done:
        raise WorkloadError(
            f"{trainable.__name__}(run) must take num_steps={trainable.num_steps} steps, but took none. Call scheduler.step(), of "
            "what run.attach(optimizer) returned, after each optimizer step; without a torch optimizer run.step()."
        )
    listener.look.pasted = run.pasted
    return listener.look


def seconds_a_step(trainable: Trainable, seed: int) -> float:
    """The time of a step, by some that follow the first; without reports."""
    listener = LookListener(min(PACE_STEPS, trainable.num_steps - 1), PACE_SECONDS)
    run = TrainingRun(trainable, Constant(PROBE_LR), listener, seed=seed, purpose="look")
    _call(trainable, run, seed)
    ends = listener.look.step_ends
    return (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else float("nan")


def _call(trainable: Trainable, run: TrainingRun, seed: int) -> Any:
    with seeded_call(trainable.torch_device, seed):
        try:
            with user_code, suppress(Stop), stop_swallowed_told():
                trainable.train(run)
            run.end()
            run.require_followed()
        except LRSearchError:
            raise
        except Exception as error:
            raise WorkloadError(
                f"{trainable.__name__}(run) must get through its first steps, but it raised {error_text(error)}. "
                "Mend that, then call again; no trial was run with it."
            ) from error
