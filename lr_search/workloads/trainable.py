"""A training function of the user's own: any loop, of any framework, that tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from lr_search.curves.curve import LRCurve, Ramp
from lr_search.errors import InvalidInputError, WorkloadError, quoted, require
from lr_search.kinds.checked import checked
from lr_search.kinds.direction import Direction
from lr_search.kinds.functions import require_runs, require_takes
from lr_search.kinds.printable_names import require_name
from lr_search.kinds.ranges import Seed
from lr_search.kinds.seeds import taken_seeds
from lr_search.workloads.forms import name_of
from lr_search.workloads.subject import Subject

if TYPE_CHECKING:
    from lr_search.own_loops.first_look import FirstLook
    from lr_search.own_loops.training_run import TrainingRun

TrainingFunction = Annotated[
    Callable[["TrainingRun"], object],
    "Pass one of (run), which trains from its beginning to its end each time it is called.",
]
USUAL_EVALUATIONS = 10  # of a training, where eval_every is left out
NOT_GIVEN: Any = None  # of an argument that is needed, to tell it in our words


@checked
@dataclass(frozen=True)
class Trainable(Subject):
    """A training function, which `compare` trains as it trains a `Workload`.

    The function is called once for each trial, after torch's, NumPy's and Python's generators were seeded, and trains from the
    beginning to the end: a trial that was killed begins again at step 0. It is given a `TrainingRun`:

        def train(run):
            scheduler = run.attach(optimizer)         # or [optimizers]; parameter groups keep the ratios of their LRs
            for batch in loader:
                ...; optimizer.step(); scheduler.step()
                run.loss(loss)
                run.report(val_loss=evaluate)         # called where a report is due; a number: if run.due: run.report(val_loss=0.1)

    Without torch: `run.lr` at each step, or `run.schedule(step)`, and `run.step()`. A range test is the same function under a rising
    LR, ended by `lr_search.Stop`, which the function must let pass. It has no gain ratio, so that its prior is wider than a workload's.
    Fused training, refind, snapshots and `retrain` need a `Workload`.

    Args:
        train: (run) -> anything.
        num_steps: optimizer steps that it takes, >= 1, each counted by `step()`.
        objective: the metric that decides: among what it reports.
        direction: "minimize" or "maximize" the objective.
        eval_every: steps between reports, >= 1; cyclic schedules are judged at their cycles' ends instead. Default: a tenth of num_steps.
        steps_per_epoch: steps in a pass over the data, > 0, for schedules that count in epochs; None: not known.
        batch_size: examples a batch, for the report.
        device: `run.device`: "auto" takes a GPU where there is one.
        pasted: the code of the answer, with `{schedule}` for the schedule; default: attached to an optimizer.
        own_range_test: (seed, settings) -> LRCurve: of a training library that can measure the gain ratio in its loop; default: the
            function under a rising LR.

    Raises:
        InvalidInputError: a number breaks its rule, or the function takes something else.

    Two losses of a bowl, trained in NumPy:

    >>> def descend(run):
    ...     x = 1.0
    ...     for _ in range(run.num_steps):
    ...         run.loss(x * x)
    ...         x -= run.lr * 2 * x
    ...         run.step()
    ...         if run.due:
    ...             run.report(loss=x * x)
    >>> bowl = Trainable(descend, num_steps=60, objective="loss")
    >>> bowl.range_test(start_lr=1e-3, end_lr=1e3).stopped
    'diverged'
    """

    train: TrainingFunction
    num_steps: int = field(kw_only=True)
    objective: str = field(default="val_loss", kw_only=True)
    direction: Direction = field(default="minimize", kw_only=True)
    eval_every: int | None = field(default=None, kw_only=True)  # type: ignore[assignment]
    steps_per_epoch: float | None = field(default=None, kw_only=True)
    batch_size: int | None = field(default=None, kw_only=True)
    device: str = field(default="auto", kw_only=True)
    pasted: str = field(default="", kw_only=True)
    own_range_test: Callable[..., LRCurve] | None = field(default=None, kw_only=True)

    test_data = None
    combine = None
    kind_error: ClassVar[type[WorkloadError]] = WorkloadError
    kind_remedy: ClassVar[str] = "Make one of a training function with @lr_search.trainable(num_steps=...)."

    def __post_init__(self) -> None:
        require_runs("train", self.train)
        require_takes("train", self.train, "run")
        require_name("objective", self.objective)
        require(self.num_steps >= 1, "num_steps must be a whole number, at least 1", num_steps=self.num_steps)
        every = max(1, self.num_steps // USUAL_EVALUATIONS) if self.eval_every is None else self.eval_every
        require(every >= 1, "eval_every must be a whole number, at least 1", eval_every=every)
        object.__setattr__(self, "eval_every", every)
        size = self.batch_size
        require(size is None or size >= 1, "batch_size must be a whole number, at least 1", batch_size=size)
        epoch = self.steps_per_epoch
        require(epoch is None or epoch > 0, "steps_per_epoch must be above 0", steps_per_epoch=epoch)
        self.torch_device  # noqa: B018  an unknown device is better reported now

    @property
    def __name__(self) -> str:
        return name_of(self.train)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def first_look(self, seed: Seed = 0) -> FirstLook:
        """Its first steps under that seed: what it begins with, and which optimizer it attaches.

        Those of seed 0, which are asked for again and again, are kept; a model of each seed would fill the device.

        Raises:
            WorkloadError: it raised an exception, took no step, or reported something else.
        """
        from lr_search.own_loops.first_look import first_look

        if seed != 0:
            return first_look(self, seed)
        if "_look" not in vars(self):
            object.__setattr__(self, "_look", first_look(self, 0))
        look: FirstLook = vars(self)["_look"]
        return look

    def range_test(
        self,
        seed: Seed = 0,
        *,
        seeds: int | Sequence[int] | None = None,
        start_lr: float = 1e-7,
        end_lr: float | None = None,
        num_steps: int | None = None,
        ramp: Ramp = "exponential",
        extend: bool | None = None,
        gain_ratio: bool | None = None,
        valid_batches: int = 0,
    ) -> LRCurve:
        """Call the function once while the LR rises every step, and return the curve; see `lr_search.range_test`.

        Args:
            seed: of the function's generators.
            seeds: several of them instead, or how many: their curves are pooled.
            start_lr: LR at the first step; > 0, or 0 for a linear ramp.
            end_lr: LR at the last step, > start_lr; default: 10.
            num_steps: steps in the ramp, >= 20; default: a third of the training's, from 20 to 100.
            ramp: "exponential" or "linear" in the LR.
            extend: go on beyond end_lr where nothing broke, and begin again lower where start_lr was too high.
            gain_ratio: of a workload, or an `own_range_test`, only: else False, or left out.
            valid_batches: of a workload only: 0.

        Raises:
            InvalidInputError: a setting breaks a rule.
            WorkloadError: the function gave no losses, or ended before the ramp did.

        Reference:
            Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186, section 3.3.
        """
        from lr_search.own_loops.function_ramp import range_test_of_function
        from lr_search.ramp.settings import RampSettings, planned_for, ramp_steps

        rule, remedy = "a range test of a training function measures the loss alone", "That needs a Workload."
        measures = self.own_range_test is not None
        require(
            (measures or not gain_ratio) and not valid_batches,
            rule,
            remedy,
            gain_ratio=gain_ratio,
            valid_batches=valid_batches,
        )
        steps = ramp_steps(num_steps, self.num_steps)
        settings = RampSettings(start_lr, end_lr, steps, ramp, extend, gain_ratio if measures else False)
        several = [seed] if seeds is None else taken_seeds(seeds)
        if self.own_range_test is not None:
            curves = [planned_for(self, self.own_range_test(each, settings)) for each in several]
        else:
            curves = [range_test_of_function(self, settings, seed=each) for each in several]
        return curves[0] if seeds is None else LRCurve.pool(curves)


@checked
def trainable(
    *bare: None,  # the function, where the decorator stands without parentheses
    num_steps: int = NOT_GIVEN,  # by that, too
    objective: str = "val_loss",
    direction: Direction = "minimize",
    eval_every: int | None = None,
    steps_per_epoch: float | None = None,
    batch_size: int | None = None,
    device: str = "auto",
) -> Callable[[Callable[[TrainingRun], object]], Trainable]:
    """A decorator that makes a `Trainable` of a training function; the arguments are as there, num_steps is needed.

    Raises:
        InvalidInputError: a setting breaks its rule, or it stands without its parentheses or num_steps.

    >>> @trainable(num_steps=20, objective="loss")
    ... def train(run):
    ...     for _ in range(run.num_steps):
    ...         run.step()
    ...     run.report(loss=run.lr)
    >>> train.num_steps, train.eval_every
    (20, 2)
    """
    if bare or num_steps is None:
        came = ", ".join(name_of(each) if callable(each) else quoted(each) for each in bare)
        raise InvalidInputError(
            f"trainable must be called with num_steps=... by name before it is given the function, but got {came or 'nothing'}. "
            "Write @lr_search.trainable(num_steps=300) above `def train(run):`, or lr_search.Trainable(train, num_steps=300)."
        )

    def decorate(train: Callable[[TrainingRun], object]) -> Trainable:
        return Trainable(
            train, num_steps=num_steps, objective=objective, direction=direction, eval_every=eval_every,
            steps_per_epoch=steps_per_epoch, batch_size=batch_size, device=device,
        )  # fmt: skip

    decorate(lambda run: None)  # a wrong setting is told here, not where the function stands
    return decorate


def require_workload_for(what: str, subject: Subject) -> None:
    """Refuse a training function where a workload is needed.

    Args:
        what: needs it.
        subject: what is trained.

    Raises:
        InvalidInputError: it is a training function.
    """
    if isinstance(subject, Trainable):
        raise InvalidInputError(
            f"{what} needs a Workload, which lr_search trains itself, but got the training function {subject.__name__}. "
            f"Describe the training as lr_search.Workload(...), or do without {what}."
        )
