"""What is trained: model, data, loss, optimizer, objective and number of steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

from torch import nn

from lr_search.curves.curve import LRCurve, Ramp
from lr_search.errors import LRSearchError, WorkloadError, error_text, quoted, require, unknown_name, user_code
from lr_search.kinds.checked import checked
from lr_search.kinds.direction import Direction
from lr_search.kinds.functions import require_takes
from lr_search.kinds.ranges import Seed
from lr_search.kinds.seeds import taken_seeds
from lr_search.optimizers.names import OptimizerForms
from lr_search.optimizers.param_groups import Optimizers
from lr_search.rng import preserved_rng, seed_everything
from lr_search.workloads.batches import BatchSource, BatchWalk, length, open_data
from lr_search.workloads.combining import Combine, require_combine
from lr_search.workloads.forms import as_model, as_source
from lr_search.workloads.lazy import initialize_lazy
from lr_search.workloads.optimizer_forms import PROBE_LR as PROBE_LR
from lr_search.workloads.optimizer_forms import as_losses, as_optimizer, built_optimizer, losses_of
from lr_search.workloads.parts import Loss, LossMetric, Metrics, Precision, UsualSteps, chosen_steps, require_accumulate
from lr_search.workloads.passes import ModelBatches
from lr_search.workloads.shown import workload_repr, workload_text
from lr_search.workloads.subject import Subject
from lr_search.workloads.trainable import Trainable

ModelFactory = Annotated[
    Callable[[], nn.Module],
    "Pass one that makes the module, such as lambda: ..., or the module itself.",
]
_TAKES: dict[str, tuple[str, ...]] = {
    "model": (), "train_data": (), "valid_data": (), "test_data": (), "loss": ("model", "batch"), "metrics": ("model", "batch"),
    "param_groups": ("model",),
}  # fmt: skip


@checked
@dataclass(frozen=True, repr=False)
class Workload(Subject):
    """Everything that is trained, but for the learning rate and its schedule.

    The factories are called anew for each training, after seeding, so that within a seed every training starts from the
    same weights and sees the same batches: `compare` refuses one that gives something else each time.

    Args:
        model: () -> nn.Module, a new one each time; or a module, of which each training gets a copy: seeds then share its weights.
        optimizer: (params, lr=float) -> Optimizer: a class, or a `functools.partial` of one. Or (model, lr) -> Optimizer, or a list
            of several, whose LRs keep their ratios to the first's: a function that needs two arguments, the first not called `params`;
            or a list of such functions.
        loss: (model, batch) -> scalar tensor. Any batch format. For batches (input, target) also one of torch's criteria:
            nn.CrossEntropyLoss(). A list: one for each of several optimizers, which then step in turn on the same batches (GANs).
        train_data: a DataLoader, another iterable of batches that can be walked through again, or () -> such an iterable; at least 2
            batches a pass. A generator of a loader's own starts from its seed in every training. Or (model) -> the batches of a pass,
            made without gradients of the model as it is when the pass begins (PPO).
        valid_data: in the forms of train_data; of (model), made of the model in eval mode at each evaluation.
        test_data: in the forms of train_data; judges only to confirm a result.
        param_groups: (model) -> parameters or torch parameter groups; each group's LR keeps its ratio to the first's (all
            name one, or none). Default: all the model's parameters. None where the optimizer is made of the model.
        metrics: (model, batch) -> {name: (examples,) tensor, or (sum, count), or a scalar weighted by the batch's first
            dimension}. Default: {"loss": loss}, the sum of several.
        objective: the metric that decides.
        direction: "minimize" or "maximize" the objective.
        num_steps: optimizer steps in a full training, >= 1. Default: 300.
        num_epochs: passes over the training data instead, > 0; becomes num_steps, rounded up.
        eval_every: steps between evaluations, >= 1; cyclic schedules are evaluated at their cycles' ends instead.
        batch_size: examples a batch, for the report; None where it varies.
        device: "auto" takes a GPU where there is one: CUDA's, else Apple's (mps).
        precision: fp32, or bf16 / fp16 under autocast.
        clip_norm: the largest norm of all gradients of a loss together, > 0, or None.
        accumulate: batches a step, >= 1.
        combine: how the outputs of an ensemble of such models become one: "softmax" (logits (examples, classes, ...)),
            "sigmoid" (logits of yes or no), "mean" (regression), or a function of the stacked outputs (members, ...). None:
            `compare` judges no ensembles.

    Raises:
        InvalidInputError: a number breaks its rule, num_epochs is given beside num_steps or for data of unknown length, or the data
            can be walked through once only or are no batches.

    >>> import torch
    >>> from functools import partial
    >>> from torch import nn
    >>> inputs = torch.linspace(-1, 1, 64).reshape(8, 8, 1)
    >>> workload = Workload(
    ...     model=lambda: nn.Linear(1, 1),
    ...     optimizer=partial(torch.optim.SGD, momentum=0.9),
    ...     loss=lambda model, batch: ((model(batch) - 3 * batch) ** 2).mean(),
    ...     train_data=lambda: inputs, valid_data=lambda: inputs, num_steps=40,
    ... )
    >>> workload.steps_per_epoch
    8.0
    """

    model: ModelFactory
    optimizer: OptimizerForms
    loss: Loss | Sequence[Loss]
    train_data: BatchSource
    valid_data: BatchSource
    test_data: BatchSource | None = None
    param_groups: Callable[[nn.Module], Any] | None = None
    metrics: Metrics | None = None
    objective: str = "loss"
    direction: Direction = "minimize"
    num_steps: int = UsualSteps(300)
    num_epochs: InitVar[float | None] = None
    eval_every: int = 30
    batch_size: int | None = None
    device: str = "auto"
    precision: Precision = "fp32"
    clip_norm: float | None = None
    accumulate: int = 1
    combine: Combine | None = None

    kind_error: ClassVar[type[WorkloadError]] = WorkloadError
    kind_remedy: ClassVar[str] = (
        "Build one with lr_search.Workload(...), classification(...) or regression(...); compare(...) takes others too: "
        "decorate a training function: @lr_search.trainable(num_steps=...)."
    )

    def __post_init__(self, num_epochs: float | None) -> None:
        object.__setattr__(self, "model", as_model(self.model))
        object.__setattr__(self, "loss", as_losses(self.loss))
        for name in ("train_data", "valid_data", *(("test_data",) if self.test_data is not None else ())):
            object.__setattr__(self, name, as_source(name, getattr(self, name)))
        for name, arguments in _TAKES.items():
            require_takes(name, getattr(self, name), *arguments)
        object.__setattr__(self, "optimizer", as_optimizer(self.optimizer, self.param_groups))
        for name in ("num_steps", "eval_every", "batch_size"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} must be a whole number, at least 1", got=value)
        require_accumulate(self.accumulate)
        require(
            self.clip_norm is None or self.clip_norm > 0,
            "clip_norm must be positive, or None",
            clip_norm=self.clip_norm,
        )
        known = getattr(self.metrics_or_loss, "names", None)
        if known is not None and self.objective not in known:
            raise unknown_name("objective", self.objective, known)
        require_combine(self.combine)
        self.torch_device  # noqa: B018  an unknown device is better reported now
        steps = chosen_steps(self.num_steps, num_epochs, lambda: self.steps_per_epoch)
        object.__setattr__(self, "num_steps", steps)

    def __str__(self) -> str:
        return workload_text(self)

    def __repr__(self) -> str:
        return workload_repr(self)

    @cached_property
    def steps_per_epoch(self) -> float | None:
        """Optimizer steps in one pass over the training data; None where a pass has no known end.

        Raises:
            WorkloadError: train_data() raises an exception.
        """
        if isinstance(self.train_data, ModelBatches):
            return None
        with preserved_rng(self.torch_device):
            seed_everything(0)
            try:
                with user_code:
                    batches = length(open_data(self.train_data, "train_data"))
            except LRSearchError:
                raise
            except Exception as error:
                raise WorkloadError(f"train_data() must return batches, but it raised {error_text(error)}.") from error
        return None if not batches else batches / self.accumulate

    @property
    def total_loss(self) -> Loss:
        """The loss; of several, their sum."""
        return self.loss  # type: ignore[return-value]  # a list was made one when the workload was made

    @property
    def metrics_or_loss(self) -> Metrics:
        """The metrics, or the loss alone."""
        return self.metrics if self.metrics is not None else LossMetric(self.total_loss)

    @user_code
    def build(self) -> tuple[nn.Module, Optimizers]:
        """The model and its optimizer, from the global RNG as it is. Raises: WorkloadError: as of its two parts."""
        model = self.build_model()
        return model, self.build_optimizer(model)

    @user_code
    def build_model(self) -> nn.Module:
        """The model on its device, its lazy layers initialized by a training batch, from the global RNG as it is.

        Raises:
            WorkloadError: the factory returns something else, or a model without parameters or with a lazy layer that is not called.
        """
        model = self.model()
        if not isinstance(model, nn.Module):
            raise WorkloadError(f"model() must return a torch.nn.Module, but got {type(model).__name__}.")
        model.to(self.torch_device)
        model.train()
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise WorkloadError(
                "The model must have parameters to train, but got none that require gradients. "
                "Return the module that holds the layers, and unfreeze some."
            )
        initialize_lazy(model, self.total_loss, self.train_data, self.torch_device)
        return model

    @user_code
    def build_optimizer(self, model: nn.Module) -> Optimizers:
        """The optimizer of such a model, or a list of several; see `built_optimizer`. Raises: WorkloadError: it cannot be made."""
        return built_optimizer(self.optimizer, losses_of(self.total_loss), self.param_groups, model)

    def begin(self, seed: Seed) -> tuple[nn.Module, Optimizers, BatchWalk]:
        """Where every training of that seed begins: a new model, its optimizer, and its batches.

        Moves the global generators, and leaves them where the training's first draw finds them.

        Args:
            seed: of the weights, and of the batches and everything the model draws.

        Raises:
            WorkloadError: the factories return something else, or fewer than 2 batches.
        """
        seed_everything(seed)
        model, optimizer = self.build()
        return model, optimizer, self.batches(seed, model)

    @user_code
    def batches(self, seed: Seed, model: nn.Module | None = None) -> BatchWalk:
        """The training batches of that seed, however many numbers the model's weights took; seeds the global generators."""
        seed_everything(seed)
        return BatchWalk(self.train_data, "train_data", self.torch_device, model=model)

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
        """Train a new model once while the LR rises every step, and return the curve; see `lr_search.range_test`.

        Args:
            seed: of the weights and the batches.
            seeds: several of them instead, or how many: their curves are pooled. They are run in one fused ramp, to the same curves to
                rounding, where the model and the loss draw no random numbers, `valid_batches` is left out and no ramp is extended.
            start_lr: LR at the first step; > 0, or 0 for a linear ramp.
            end_lr: LR at the last step, > start_lr; default: 10, and on from there while steps keep their promise.
            num_steps: steps in the ramp, >= 20; default: a third of the training's, from 20 to 100.
            ramp: "exponential" or "linear" in the LR.
            extend: go on beyond end_lr where nothing broke, and begin again lower where start_lr was too high; False: neither.
            gain_ratio: measure it at every step; default: where it changes, if the loss comes out the same when evaluated again.
            valid_batches: validation batches to evaluate the metrics on before every step, >= 0.

        Reference:
            Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186, section 3.3.
        """
        from lr_search.ramp.range_test import range_test_of, range_tests_of
        from lr_search.ramp.settings import RampSettings, ramp_steps

        several, steps = None if seeds is None else taken_seeds(seeds), ramp_steps(num_steps, self.num_steps)
        settings = RampSettings(start_lr, end_lr, steps, ramp, extend, gain_ratio, valid_batches)
        if several is None:
            return range_test_of(self, settings, seed=seed)
        return range_tests_of(self, settings, seeds=several)


def require_workload(value: object) -> Workload | Trainable:
    """The value, if it is a workload or a training function.

    Raises:
        WorkloadError: it is something else.
    """
    if isinstance(value, Workload | Trainable):
        return value
    raise WorkloadError(
        f"A workload must be an lr_search.Workload or an lr_search.Trainable, but got {quoted(value)}. {Workload.kind_remedy}"
    )
