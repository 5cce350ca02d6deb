"""One training at one LR under one schedule: an iterator of evaluations. Knows no Optuna, no Ray and no files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from lr_search.curves.curve import LRCurve
from lr_search.errors import LRSearchError, require
from lr_search.rng import RNGState, preserved_rng
from lr_search.schedules.base import Schedule
from lr_search.training.batch_norm import gather_statistics
from lr_search.training.controller import Controller, first_schedule
from lr_search.training.evaluation import Evaluation
from lr_search.training.judge import Judge
from lr_search.training.snapshots import Snapshot, Snapshots
from lr_search.training.step import Stepper
from lr_search.workloads.batches import BatchWalk
from lr_search.workloads.workload import Workload, require_workload

Stopped = Literal["finished", "diverged", "closed"]
TRAINING_BLOCK = 16  # steps between reads of the losses: each read waits for the device


def train(workload: Workload, schedule: Schedule | Controller, *, seed: int = 0, snapshots: int = 0) -> Training:
    """Train a new model under `schedule`, evaluation by evaluation.

    Args:
        workload: what is trained.
        schedule: step -> LR, for steps 0 to num_steps - 1; or a controller, which changes it on the way.
        seed: of the weights, the batches and everything the model draws.
        snapshots: how many of the last cycle ends' weights to keep, >= 0; of the last evaluations' where no cycle ends
            within the training.

    Returns:
        An iterator of `Evaluation`s, the first at step 0, the last at num_steps: every `eval_every` steps, or at the
        cycles' ends for a cyclic schedule. A non-finite loss or weight ends it early; `.stopped` and `.reason` say so.

    Raises:
        InvalidInputError: an argument breaks a rule.
        WorkloadError: the workload cannot be trained.

    >>> from lr_search.schedules import Constant
    >>> batches = torch.linspace(-1, 1, 32).reshape(4, 8, 1)
    >>> workload = Workload(
    ...     model=lambda: torch.nn.Linear(1, 1),
    ...     optimizer=torch.optim.SGD,
    ...     loss=lambda model, x: ((model(x) - 3 * x) ** 2).mean(),
    ...     train_data=lambda: batches,
    ...     valid_data=lambda: batches,
    ...     num_steps=200,
    ...     eval_every=100,
    ... )
    >>> training = train(workload, Constant(0.3), seed=0)
    >>> [evaluation.step for evaluation in training], training.stopped
    ([0, 100, 200], 'finished')
    """
    return Training(workload, schedule, seed=seed, snapshots=snapshots)


class Training(Iterator[Evaluation]):
    """A training in progress; made by `train()`.

    It keeps a random state of its own: what other code draws between two evaluations does not change it, nor it them.

    Attributes:
        model: the module that is trained. With an optimizer that has train() and eval() (Schedule-Free) it holds the averaged
            weights, and the statistics that batch norms have with them; other weights are trained between the evaluations.
        schedule: that holds now; only a controller changes it.
        step: optimizer steps done.
        steps_charged: those, and what range tests on the way cost.
        stopped: None while it can go on; then "finished", "diverged" or "closed".
        reason: why it stopped, in words.
        snapshots: the kept `Snapshot`s, oldest first.
    """

    step: int
    stopped: Stopped | None
    reason: str

    def __init__(
        self, workload: Workload, schedule: Schedule | Controller, *, seed: int = 0, snapshots: int = 0
    ) -> None:
        self.workload, self.seed = require_workload(workload), seed
        right = isinstance(schedule, Schedule | Controller)
        require(right, "schedule must be a Schedule or a Controller", "Use lrs.schedules.by_name.", got=schedule)
        self._device = workload.torch_device
        self._follow(first_schedule(schedule))
        self._snapshots = Snapshots(snapshots, seed)
        self.step, self.stopped, self.reason = 0, None, ""
        self._evaluated = False  # whether the model was, as it is now
        self._since: list[float] = []  # losses since the last evaluation, read
        self._range_test_steps = 0
        with preserved_rng(self._device):
            self.model, self.optimizer, batches = workload.begin(seed)
            self._open_data(batches)
            self._stepper = Stepper.of(workload, self.model, self.optimizer)
        self._control = schedule.start(self) if isinstance(schedule, Controller) else None

    def _follow(self, schedule: Schedule) -> None:
        """Train under this schedule from here on."""
        self.schedule = schedule
        self._ends = set(schedule.cycle_ends(self.workload.num_steps))
        self._checkpoints = checkpoints(self.workload, schedule)

    @property
    def steps_charged(self) -> int:
        """Optimizer steps done, and what range tests on the way cost."""
        return self.step + self._range_test_steps

    def _open_data(self, batches: BatchWalk) -> None:
        """Train on these batches, which were just opened: the training's own random state is the global one, as it is now."""
        self._batches = batches
        self._rng = RNGState.capture(self._device)
        self._judge = Judge(self.workload, self.seed)

    @property
    def snapshots(self) -> list[Snapshot]:
        """The kept weights, oldest first: what `SnapshotEnsemble` and `average_weights` take."""
        return self._snapshots.kept

    def __next__(self) -> Evaluation:
        """Train on to the next evaluation."""
        if self.stopped is not None:
            raise StopIteration
        target = self.next_evaluation()
        if target is None:
            self._stop("finished", f"all {self.workload.num_steps} steps done")
            raise StopIteration
        with self._own_rng():
            evaluation = self._evaluation() if self._train_to(target) else None
        if evaluation is None:
            raise StopIteration
        self._evaluated = True
        if target == self.workload.num_steps:
            self._stop("finished", f"all {target} steps done")
        elif self._control is not None and (changed := self._control(evaluation)) is not None:
            self._follow(changed)
        return evaluation

    def next_evaluation(self) -> int | None:
        """The step of the next evaluation, as things stand; None where there is none any more."""
        return next((s for s in self._checkpoints if s > self.step or (s == self.step and not self._evaluated)), None)

    def advance(self, step: int) -> bool:
        """Train on to that step without evaluating, neither on the way nor there.

        What was passed over stays out: evaluations, and the snapshots of cycle ends. The weights are the same bits.

        Args:
            step: from the present step to num_steps.

        Returns:
            Whether the training is there; False where it diverged before.

        Raises:
            InvalidInputError: the step lies behind, or beyond the end; or beyond an evaluation at which a controller decides.
        """
        require(
            self.step <= step <= self.workload.num_steps,
            f"step must lie between the present step {self.step} and num_steps={self.workload.num_steps}",
            step=step,
        )
        decided = self.next_evaluation()
        free = self._control is None or decided is None or step < decided
        require(free, f"step must lie before {decided}, since a controller decides at that evaluation", step=step)
        if self.stopped is None and step > self.step:
            self._evaluated = False
            with self._own_rng():
                self._train_to(step)
        return self.step == step and self.stopped != "diverged"

    def range_test(self, *, seed: int | None = None, **settings: Any) -> LRCurve:
        """The range test from the present state; the training goes on in the same bits as without.

        It runs under the workload's accumulate, clip_norm and precision, with the training's own GradScaler, on a pass over
        train_data of its own. What it cost is the curve's `steps_charged`, which the training's own count too.

        Args:
            seed: of its batches; default: the training's, so that tests at several steps differ by the state alone.
            **settings: as of `Workload.range_test`: start_lr, end_lr, num_steps, ramp, extend, gain_ratio, valid_batches.

        Raises:
            InvalidInputError: a setting breaks a rule, or the training has diverged.
        """
        from lr_search.ramp.range_test import range_test_within
        from lr_search.ramp.settings import RampSettings

        require(self.stopped != "diverged", "a range test needs a training that has not diverged", got=self.reason)
        seed = self.seed if seed is None else seed
        curve = range_test_within(self.workload, RampSettings(**settings), self._stepper, seed=seed)
        self._range_test_steps += curve.steps_charged
        return curve

    @contextmanager
    def _own_rng(self) -> Iterator[None]:
        """Inside, the global generators are the training's; after an exception there is no going on."""
        with preserved_rng(self._device):
            self._rng.restore()
            try:
                yield
            except BaseException as error:  # the step is half done
                self._stop("closed", f"{type(error).__name__} after step {self.step}")
                raise
            self._rng = RNGState.capture(self._device)

    def _train_to(self, target: int) -> bool:
        """Step up to `target`. Returns: whether it got there; False if the training diverged on the way."""
        with self._stepper.modes.stepping():
            while self.step < target:
                stop = min(target, self.step + TRAINING_BLOCK)
                if not self._run_block(np.arange(self.step, stop)):
                    return False
            if self.step and not self._stepper.is_finite():
                self._lost(f"a weight became non-finite by step {self.step}")
                return False
        return True

    def _evaluation(self) -> Evaluation | None:
        """Evaluate here; None if that shows that the training has diverged."""
        try:
            metrics = self.evaluate()
        except Exception as error:
            if not self.step or isinstance(error, LRSearchError) or self._stepper.is_finite(self._batches):
                raise
            self._lost(f"{type(error).__name__} on a non-finite output after step {self.step}: {error}")
            return None
        train_loss = float(np.mean(self._since)) if self._since else float("nan")
        self._since = []
        end_of_cycle = self.step in self._ends
        if end_of_cycle or (self.step and not self._ends):
            self._snapshots.keep(self.step, self.model)
        lr = self.schedule(max(self.step - 1, 0))
        return Evaluation(self.step, lr, train_loss, metrics, end_of_cycle)

    def _lost(self, reason: str) -> None:
        """Diverged, as an evaluation found; in the step that shows it, so that it does not depend on the evaluations."""
        with self._stepper.modes.stepping():
            if self.step == self.workload.num_steps or self._run_block(np.arange(self.step, self.step + 1)):
                self._diverged(reason)

    def _run_block(self, steps: np.ndarray[Any, Any]) -> bool:
        """Take the steps, then read their losses at once. Returns: whether all are finite."""
        lrs, momenta = self.schedule(steps), self.schedule.momentum(steps)
        losses: list[torch.Tensor] = []
        try:
            for lr, momentum in zip(lrs.tolist(), momenta.tolist(), strict=True):
                losses.append(self._stepper.step(self._batches, lr, None if math.isnan(momentum) else momentum))
        except Exception as error:
            if not self._read(losses):
                return False
            self.step += len(losses)
            # before the first step nothing has been trained that could have diverged
            if not self.step or isinstance(error, LRSearchError) or self._stepper.is_finite():
                raise
            self._diverged(f"{type(error).__name__} on non-finite weights or outputs after step {self.step}: {error}")
            return False
        if not self._read(losses):
            return False
        self.step += len(losses)
        return True

    def _read(self, losses: list[torch.Tensor]) -> bool:
        """Read a block of losses off the device. Returns: whether all are finite; if not, the training has diverged."""
        values = torch.stack(losses).cpu().double().numpy() if losses else np.empty(0)
        finite = np.isfinite(values)
        if finite.all():
            self._since.extend(values.tolist())
            return True
        first = int(np.argmin(finite))
        self.step += first + 1
        self._diverged(f"the training loss became {values[first]} at step {self.step}")
        return False

    def evaluate(self, model: nn.Module | None = None) -> dict[str, float]:
        """Judge on the validation data, under a random state of its own that is the same at every evaluation.

        Args:
            model: another one than that which is trained, such as an ensemble of its snapshots.

        Returns:
            name -> each metric's mean over the examples.

        Raises:
            InvalidInputError: the training was closed.
            WorkloadError: the metrics have another form, or lack the objective.
        """
        if model is None and self._stepper.modes.kept is not None:
            gather_statistics(self.workload, self.model, self.seed)
        return self._judge(self.model if model is None else model)

    def _diverged(self, reason: str) -> None:
        self._stop("diverged", reason)

    def _stop(self, stopped: Stopped, reason: str) -> None:
        self.stopped, self.reason = stopped, reason

    def close(self) -> None:
        """End the training here and let go of its data."""
        if self.stopped is None:
            self._stop("closed", f"closed after step {self.step}")
        self._batches.close()
        self._judge.close()

    def state_dict(self) -> dict[str, Any]:
        """Everything another `Training` of the same workload, schedule and seed needs to go on with the same bits.

        Plain containers, numbers and tensors, which `torch.load(weights_only=True)` takes. Holds references to the
        weights: copy or save it before the next step.
        """
        scaler, weights = self._stepper.scaler, self.model.state_dict()
        return {
            "step": self.step,
            "evaluated": self._evaluated,
            "range_test_steps": self._range_test_steps,
            "control": None if self._control is None else self._control.state_dict(),
            "diverged": self.reason if self.stopped == "diverged" else None,
            "since": list(self._since),
            "model": weights,
            "buffers": {name: value for name, value in self.model.named_buffers() if name not in weights},
            "optimizer": self.optimizer.state_dict(),
            "trained": self._stepper.modes.kept,  # where "model" holds the averaged weights
            "scaler": None if scaler is None else scaler.state_dict(),
            "batches": self._batches.state_dict(),
            "rng": self._rng.plain(),
            "snapshots": [dict(vars(kept)) for kept in self._snapshots.kept],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there. The position in the data is found by replaying the present pass over it."""
        self.step, self._evaluated, self._since = state["step"], state["evaluated"], list(state["since"])
        self._range_test_steps = state["range_test_steps"]
        if self._control is not None:
            self._follow(self._control.load_state_dict(state["control"]))
        self.stopped, self.reason = (None, "") if state["diverged"] is None else ("diverged", state["diverged"])
        self.model.load_state_dict(state["model"])
        for name, value in state["buffers"].items():
            self.model.get_buffer(name).copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self._stepper.modes.load(state["trained"])
        if self._stepper.scaler is not None:
            self._stepper.scaler.load_state_dict(state["scaler"])
        self._snapshots.kept = [Snapshot(**kept) for kept in state["snapshots"]]
        with preserved_rng(self._device):
            self._open_data(self.workload.batches(self.seed))
            self._batches.load_state_dict(state["batches"])
        self._rng = RNGState.from_plain(state["rng"], self._device)


def checkpoints(workload: Workload, schedule: Schedule) -> list[int]:
    """The steps at which a training is evaluated: 0, each cycle's end, the end; every `eval_every` steps where no cycle ends between."""
    ends = schedule.cycle_ends(workload.num_steps)
    cyclic = any(end < workload.num_steps for end in ends)
    between = () if cyclic else range(workload.eval_every, workload.num_steps, workload.eval_every)
    return sorted({0, *ends, *between, workload.num_steps})
