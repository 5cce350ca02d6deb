"""The range test of a training function: the function itself under a rising LR, ended where its loss blows up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch

from lr_search.arrays import FloatArray
from lr_search.curves.curve import LRCurve, Ramp
from lr_search.curves.training_plan import Plan
from lr_search.errors import Stop, WorkloadError, user_code
from lr_search.optimizers.param_groups import group_ratios
from lr_search.own_loops.function_state import seeded_call
from lr_search.own_loops.stop_swallowed import stop_swallowed_told
from lr_search.own_loops.training_run import TrainingRun
from lr_search.ramp.extending import ends_too_low, lrs_beyond, restarted_where_too_high
from lr_search.ramp.record import RampRecord
from lr_search.ramp.settings import RampSettings, planned_for
from lr_search.schedules.base import Schedule
from lr_search.training.evaluation import Evaluation
from lr_search.workloads.trainable import Trainable

SILENT_STEPS = 20  # a range test goes on so long without a loss
_END = "the range test is at its end"


@dataclass
class RampLRs(Schedule):
    """The LRs of a ramp, step by step; beyond its end on at the same pace, since losses are read some steps later."""

    lrs: FloatArray
    ramp: Ramp

    def values(self, steps: FloatArray) -> FloatArray:
        """See `Schedule`."""
        last = len(self.lrs) - 1
        within, beyond = self.lrs[np.minimum(steps.astype(int), last)], np.maximum(steps - last, 0)
        if self.ramp == "linear":
            return np.asarray(within + (self.lrs[1] - self.lrs[0]) * beyond)
        return np.asarray(within * (self.lrs[1] / self.lrs[0]) ** beyond)

    def describe(self) -> str:
        """See `Schedule`."""
        return f"the ramp of a range test, from {self.lrs[0]:.3g} to {self.lrs[-1]:.3g}"


class RampListener:
    """Records the losses of a ramp, and ends it: where they blow up, or at its end where nothing is to be gained beyond.

    Args:
        trainable: the training function.
        settings: of the ramp.
        lrs: of its steps, (n,).
    """

    def __init__(self, trainable: Trainable, settings: RampSettings, lrs: FloatArray) -> None:
        self._trainable, self._settings = trainable, settings
        self.schedule = RampLRs(lrs, settings.ramp)
        self._record = RampRecord(settings.ramp)
        self._optimizers: list[torch.optim.Optimizer] = []
        self._ratios: list[float] = []
        self._known: Plan | None = None
        if trainable.steps_per_epoch is not None:
            self._known = Plan(steps_per_epoch=trainable.steps_per_epoch)

    def attached(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """See `Listener`."""
        self._optimizers = list(optimizers)
        with suppress(ValueError):  # which attaching will report
            self._ratios = group_ratios(self._optimizers)

    def stepped(self, step: int) -> str:
        """See `Listener`."""
        if self._record.steps == 0 and step >= SILENT_STEPS:
            raise self._silent(f"took {step} steps without run.loss(loss)")
        return ""

    def _silent(self, came: str) -> WorkloadError:
        return WorkloadError(
            f"{self._trainable.__name__}(run) must tell its loss at every step of a range test, but {came}. Call run.loss(loss) "
            "once a step, or compare strategies that need no range test: strategies=['grid', 'random']."
        )

    def lost(self, losses: Mapping[int, float]) -> str:
        """See `Listener`."""
        record = self._record
        for place, step in enumerate(losses, start=record.steps):
            if step != place:
                raise self._silent(f"told none between steps {place} and {step + 1}")
        left = list(losses.values())
        while left:
            lrs = self.schedule.lrs[record.steps :]
            record.take(lrs[: len(left)].tolist(), np.array(left[: len(lrs)]))
            left = left[len(lrs) :]
            if record.is_empty:
                raise WorkloadError(
                    "The first loss must be finite, but it was not, before any step was taken. Check the data and the loss."
                )
            if record.stopped != "finished" or (len(self.schedule.lrs) == record.steps and not self._extended()):
                return _END
        return ""

    def _extended(self) -> bool:
        lrs = self.schedule.lrs
        if not ends_too_low(self.curve(), lrs, self._settings):
            return False
        self.schedule.lrs = np.concatenate([lrs, lrs_beyond(lrs, self._settings.ramp)])
        return True

    def reported(self, evaluation: Evaluation, due: bool) -> tuple[str, Schedule | None]:
        """See `Listener`: a ramp wants none."""
        return "", None

    @property
    def at_end(self) -> bool:
        """Whether the ramp has broken off, or all its steps are recorded."""
        return self._record.stopped != "finished" or self._record.steps >= len(self.schedule.lrs)

    @property
    def recorded(self) -> int:
        """How many steps are recorded."""
        return self._record.steps

    def curve(self) -> LRCurve:
        """What was recorded so far."""
        weights = sum(
            each.numel()
            for optimizer in self._optimizers
            for group in optimizer.param_groups
            for each in group["params"]
        )
        return self._record.curve(self._optimizers, self._ratios, weights, self._known)


def range_test_of_function(trainable: Trainable, settings: RampSettings, *, seed: int) -> LRCurve:
    """The range test of a training function, from where trainings of that seed begin."""

    @user_code
    def climbed(lrs: FloatArray) -> LRCurve:
        listener = RampListener(trainable, settings, lrs)
        steps = max(trainable.num_steps, 2 * len(lrs))
        run = TrainingRun(trainable, listener.schedule, listener, seed=seed, num_steps=steps, purpose="ramp")
        with seeded_call(trainable.torch_device, seed):
            _call(trainable, run, listener)
        run.require_followed()
        if not listener.at_end and listener.recorded < len(lrs):
            raise WorkloadError(
                f"{trainable.__name__}(run) must take the {len(lrs)} steps of a range test, with a loss at each, but returned after "
                f"{run.steps_done} with {listener.recorded} losses. Train on until lr_search.Stop is raised; or make the test shorter, "
                "range_test={'num_steps': 20}; or compare strategies that need none: strategies=['grid', 'random']."
            )
        return listener.curve()

    return planned_for(trainable, restarted_where_too_high(climbed, settings))


def _call(trainable: Trainable, run: TrainingRun, listener: RampListener) -> None:
    """Call the function; an exception while its loss is not finite is the ramp's end."""
    try:
        with stop_swallowed_told():
            trainable.train(run)
            run.end()
    except Stop:
        return
    except WorkloadError:
        raise
    except Exception:
        with suppress(Stop):
            run.end()
        if listener.at_end and listener.recorded:
            return
        raise
