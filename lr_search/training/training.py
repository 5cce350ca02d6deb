"""One training at one LR under one schedule: an iterator of evaluations. Knows no Optuna, no Ray and no files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from lr_search.curves.curve import LRCurve
from lr_search.errors import LRSearchError, raised_by_user, require, user_code
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.rng import RNGState, preserved_rng
from lr_search.schedules.base import Schedule
from lr_search.state.saved_state import load_saved_state, saved_state
from lr_search.training.batch_norm import gather_statistics
from lr_search.training.blocks import BlockRunner, raised_on
from lr_search.training.controller import Controller, first_schedule
from lr_search.training.course import Course, Stopped
from lr_search.training.evaluation import Evaluation, Evaluations
from lr_search.training.judge import Judge
from lr_search.training.snapshots import Snapshot, Snapshots
from lr_search.training.step import Stepper
from lr_search.workloads.batches import BatchWalk
from lr_search.workloads.workload import Workload


@checked
def train(workload: Workload, schedule: Schedule | Controller, *, seed: Seed = 0, snapshots: int = 0) -> Training:
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
        WorkloadError: the workload cannot be trained; later, that its data are at fault.

    >>> import torch
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


@checked
class Training(Evaluations):
    """A training in progress; made by `train()`.

    It keeps a random state of its own: what other code draws between two evaluations does not change it, nor it them.

    Attributes:
        model: the module that is trained. With an optimizer that has train() and eval() (Schedule-Free) it holds the averaged
            weights, and batch norms' statistics with them; other weights are trained between evaluations.
        optimizer: of its parameters; a list where the workload has several.
    """

    @user_code
    def __init__(
        self, workload: Workload, schedule: Schedule | Controller, *, seed: Seed = 0, snapshots: int = 0
    ) -> None:
        self.workload, self.seed = workload, seed
        self._device, self._functions = workload.torch_device, [workload.total_loss, workload.metrics]
        self._course = Course(workload, first_schedule(schedule), Snapshots(snapshots, seed))
        self._evaluated, self._range_test_steps = False, 0  # evaluated: whether the model was as it is now
        with preserved_rng(self._device):
            self.model, self.optimizer, batches = workload.begin(seed)
            self._stepper = Stepper.of(workload, self.model, self.optimizer)
            self._open_data(batches)
        self._control = schedule.start(self) if isinstance(schedule, Controller) else None

    @property
    def schedule(self) -> Schedule:
        """The schedule that holds now; only a controller changes it."""
        return self._course.schedule

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self._course.step

    @property
    def stopped(self) -> Stopped | None:
        """None while it can go on; then "finished", "diverged", "failed" (the user's code raised) or "closed"."""
        return self._course.stopped

    @property
    def reason(self) -> str:
        """Why it stopped, in words."""
        return self._course.reason

    @property
    def steps_charged(self) -> int:
        """Optimizer steps done, and what range tests on the way cost."""
        return self.step + self._range_test_steps

    def _open_data(self, batches: BatchWalk) -> None:
        """Train on these batches, which were just opened: the training's own random state is the global one, as it is now."""
        self._runner = BlockRunner(self._stepper, batches, self._course, self.seed)
        self._rng = RNGState.capture(self._device)
        self._judge = Judge(self.workload, self.seed)

    @property
    def snapshots(self) -> list[Snapshot]:
        """The kept weights, oldest first: what `SnapshotEnsemble` and `average_weights` take."""
        return self._course.snapshots

    def _next(self) -> Evaluation | None:
        if self.stopped is not None:
            return None
        target = self.next_evaluation()
        if target is None:
            self._course.finish_if_done()
            return None
        with self._own_rng():
            evaluation = self._evaluation() if self._runner.train_to(target) else None
        if evaluation is None:
            return None
        self._evaluated = True
        self._course.finish_if_done()
        if self.stopped is None and self._control is not None:
            changed = self._control(evaluation)
            if changed is not None:
                self._course.follow(changed)
        return evaluation

    def next_evaluation(self) -> int | None:
        """The step of the next evaluation, as things stand; None where there is none any more."""
        return self._course.next_checkpoint(self._evaluated)

    @user_code
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
                self._runner.train_to(step)
        return self.step == step and self.stopped != "diverged"

    def range_test(self, *, seed: Seed | None = None, **settings: Any) -> LRCurve:
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
        from lr_search.ramp.settings import RampSettings, ramp_steps

        require(self.stopped != "diverged", "a range test needs a training that has not diverged", got=self.reason)
        seed = self.seed if seed is None else seed
        settings["num_steps"] = ramp_steps(settings.get("num_steps"), self.workload.num_steps)
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
                reason = f"{type(raised_by_user(error)).__name__} after step {self.step}"
                self._course.stop("failed" if isinstance(error, Exception) else "closed", reason)
                raise
            self._rng = RNGState.capture(self._device)

    def _evaluation(self) -> Evaluation | None:
        """Evaluate here; None if that shows that the training has diverged."""
        try:
            metrics = self.evaluate()
            if not self.step:
                self._judge.require_sound(self.model, metrics)
        except Exception as error:
            if not self.step or isinstance(error, LRSearchError) or self._stepper.is_finite(self._runner.batches):
                raise
            self._runner.diverge(raised_on("a non-finite output", error, self.step))
            return None
        if self._course.keeps:
            self._course.kept.keep(self.step, self.model)
        return self._course.evaluated(metrics)

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

    def close(self) -> None:
        """End the training here and let go of its data."""
        if self.stopped is None:
            self._course.stop("closed", f"closed after step {self.step}")
        self._runner.batches.close()
        self._judge.close()

    def state_dict(self) -> dict[str, Any]:
        """Everything another `Training` of the same workload, schedule and seed needs to go on with the same bits.

        Plain containers, numbers and tensors, which `torch.load(weights_only=True)` takes. Holds references to the
        weights: copy or save it before the next step.
        """
        scaler = self._stepper.scaler
        return {
            "step": self.step,
            "evaluated": self._evaluated,
            "range_test_steps": self._range_test_steps,
            "control": None if self._control is None else self._control.state_dict(),
            "diverged": self.reason if self.stopped == "diverged" else None,
            "since": list(self._course.losses),
            "model": self.model.state_dict(),
            "kept": saved_state(self.model, self._device, self.optimizer, self._functions),
            "trained": self._stepper.modes.kept,  # where "model" holds the averaged weights
            "scaler": None if scaler is None else scaler.state_dict(),
            "batches": self._runner.batches.state_dict(),
            "rng": self._rng.plain(),
            "snapshots": [dict(vars(snapshot)) for snapshot in self.snapshots],
        }

    @user_code
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave. The position in the data is found by replaying the present pass over it.

        Raises:
            InvalidInputError: another version of lr_search saved it.
            WorkloadError: the model or the optimizer keeps other kinds of things.
        """
        require("kept" in state, "a training's state must be one that this version saved", "Train anew.", got=[*state])
        self._evaluated, self._range_test_steps = state["evaluated"], state["range_test_steps"]
        if self._control is not None:
            self._course.follow(self._control.load_state_dict(state["control"]))
        self._course.load(state["step"], state["since"], state["diverged"])
        load_saved_state(self.model, state["model"], state["kept"], self._device, self.optimizer, self._functions)
        self._stepper.modes.load(state["trained"])
        if self._stepper.scaler is not None:
            self._stepper.scaler.load_state_dict(state["scaler"])
        self._course.kept.kept = [Snapshot(**snapshot) for snapshot in state["snapshots"]]
        with preserved_rng(self._device):
            self._open_data(self.workload.batches(self.seed, self.model))
            self._runner.batches.load_state_dict(state["batches"])
        self._rng = RNGState.from_plain(state["rng"], self._device)
