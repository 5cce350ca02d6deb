"""The ramp of a range test within a fit that is set up and has taken no step: with what the Trainer steps with, and put back in memory."""

from __future__ import annotations

import contextlib
import inspect
import weakref
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader

from lr_search.curves.curve import LRCurve
from lr_search.curves.training_plan import Plan
from lr_search.errors import InvalidInputError, WorkloadError, require
from lr_search.ramp.range_test import range_test as live_range_test
from lr_search.ramp.settings import ramp_steps
from lr_search.workloads.batches import preserved_generators
from lr_search_lightning.lightning_names import home_of, lightning_object, overridden

_OWN_STEPS = ("optimizer_step", "optimizer_zero_grad", "backward")
_UNENDING = float("inf")


def ramp_in_fit(trainer: Any, *, num_steps: int | None = None, plan: Plan | None = None, **settings: Any) -> LRCurve:
    """Run a ramp on the module, the optimizer and the batches of a fit, as it would train with them.

    Precision, accumulation, clipping and the batches' way to the device are the Trainer's, and the module's hooks around a step
    are called. What the module logs goes nowhere; callbacks see nothing of it.

    Args:
        trainer: a fit that is in `on_train_start`.
        num_steps: optimizer steps of the ramp. Default: by the fit's length.
        plan: the training that is to follow. Default: as long as the fit.
        **settings: as of `lr_search.range_test`: start_lr, end_lr, ramp, extend, gain_ratio.

    Raises:
        InvalidInputError: a ramp cannot be run in a fit of this kind.
        WorkloadError: there are no batches, the steps move no weight, or they are the module's own.
    """
    home = home_of(trainer, "trainer", "Trainer")
    _require_plain_steps(trainer, home)
    (optimizer,) = trainer.optimizers
    planned = steps_of_fit(trainer)
    batches = FitBatches(trainer, home)
    with muted(trainer), _apart(trainer), _out_of_sight(trainer), _hooked(trainer, optimizer):
        curve = live_range_test(
            trainer.strategy.model, optimizer, batches, batches.loss, num_steps=ramp_steps(num_steps, planned), plan=plan,
            accumulate=trainer.accumulate_grad_batches, scaler=getattr(trainer.precision_plugin, "scaler", None), **settings,
        )  # fmt: skip
    return curve if plan is not None else replace(curve, plan=(curve.plan or Plan()).but(num_steps=planned))


def steps_of_fit(trainer: Any) -> int | None:
    """The optimizer steps of a fit; None where it has no end."""
    steps = trainer.estimated_stepping_batches
    return None if steps in (-1, _UNENDING) else int(steps)


def _require_plain_steps(trainer: Any, home: str) -> None:
    """Refuse a fit whose steps are not one loss, one gradient and one step of one optimizer, taken by Lightning."""
    module = trainer.lightning_module
    require_automatic(module)
    own = overridden(module, home, _OWN_STEPS)
    require(
        not own,
        "A range test of a LightningModule takes Lightning's own steps",
        "Leave such methods out for the range test (a warm-up has no place in one). compare() trains the module as it is.",
        overridden=own,
    )
    require(
        "dataloader_iter" not in inspect.signature(module.training_step).parameters,
        "training_step must take a batch in a range test",
        got="dataloader_iter",
    )
    kinds = tuple(lightning_object(home, "strategies", name) for name in ("SingleDeviceStrategy", "DDPStrategy"))
    require(
        isinstance(trainer.strategy, kinds),
        "A range test of a LightningModule runs on one device or under DDP",
        'Run it with Trainer(devices=1), or strategy="ddp".',
        strategy=type(trainer.strategy).__name__,
    )


def has_plain_steps(trainer: Any) -> bool:
    """Whether a ramp can be run in this fit."""
    try:
        _require_plain_steps(trainer, home_of(trainer, "trainer", "Trainer"))
    except InvalidInputError:
        return False
    return True


def require_automatic(module: Any) -> None:
    """Refuse a module that steps by itself: which of its losses and steps belong together is not known."""
    if not module.automatic_optimization:
        raise WorkloadError(
            "A range test of a LightningModule needs automatic optimization, but got automatic_optimization=False: the steps are "
            'training_step\'s own. Compare with strategies that need no range test, such as "grid" and "random".'
        )


class FitBatch:
    """A batch as training_step gets it: on its device, past the precision's conversion and the module's transfer hooks.

    Args:
        batch: what the loader gave.
        index: its number in the pass, from 0.
    """

    def __init__(self, batch: Any, index: int) -> None:
        self.batch, self.index = batch, index


class FitBatches:
    """The training batches of a fit, each pass apart from the fit's own; and the loss on one.

    Args:
        trainer: whose data are set up.
        home: its package.
    """

    def __init__(self, trainer: Any, home: str) -> None:
        self._trainer, self._module = trainer, trainer.lightning_module
        self._combined = lightning_object(home, "utilities.combined_loader", "CombinedLoader")
        parameters = inspect.signature(self._module.training_step).parameters.values()
        places = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
        self._takes_index = len(places) > 1 or any(each.kind is each.VAR_POSITIONAL for each in parameters)
        self._ended: tuple[Any, Any, int] | None = None  # of the last batch, what the hook at its end is told

    def __len__(self) -> int:
        """Batches a pass. Raises: TypeError: that is not known."""
        if self._trainer.num_training_batches == _UNENDING:
            raise TypeError("the training data have no length")
        return int(self._trainer.num_training_batches)

    def __iter__(self) -> Iterator[FitBatch]:
        """A pass."""
        loader = self._trainer.fit_loop._combined_loader
        source, limit = self._combined(loader.iterables, loader._mode), self._trainer.num_training_batches
        iterator = iter(source)
        for index, (batch, _, _) in enumerate(islice(iterator, None if limit == _UNENDING else int(limit))):
            yield FitBatch(self._transferred(batch), index)

    def _transferred(self, batch: Any) -> Any:
        batch = self._trainer.precision_plugin.convert_input(batch)
        batch = self._module._on_before_batch_transfer(batch, dataloader_idx=0)
        return self._trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    def loss(self, model: Any, drawn: FitBatch) -> torch.Tensor:
        """What training_step returns of a batch, in the fit's precision, through whatever spreads the model over processes.

        In a step, not where the loss is evaluated again, the module's hooks at the batch's start and at the last one's end are called.
        """
        if torch.is_grad_enabled():
            if self._ended is not None:
                self._module.on_train_batch_end(*self._ended)
            self._module.on_train_batch_start(drawn.batch, drawn.index)
        arguments = (drawn.batch, drawn.index) if self._takes_index else (drawn.batch,)
        output = self._trainer.strategy.training_step(*arguments)
        loss = output.get("loss") if isinstance(output, dict) else output
        if not isinstance(loss, torch.Tensor):
            raise WorkloadError(
                "training_step must return its loss, or a dictionary with it under 'loss', at every step of a range test, but "
                f"returned {type(output).__name__}."
            )
        if torch.is_grad_enabled():
            outputs = {"loss": loss.detach() / self._trainer.accumulate_grad_batches}  # as a fit hands it on
            self._ended = outputs, drawn.batch, drawn.index
        return loss


@contextlib.contextmanager
def muted(trainer: Any) -> Iterator[None]:
    """Inside, the module's self.log does nothing, and self.logger writes nothing."""
    module, loggers = trainer.lightning_module, trainer.loggers
    if loggers:
        home = home_of(trainer, "trainer", "Trainer")
        trainer.loggers = [lightning_object(home, "loggers.logger", "DummyLogger")()]
    modules = [each for each in module.modules() if hasattr(each, "log_dict")]
    for each in modules:
        vars(each)["log"] = _ignore
    try:
        yield
    finally:
        for each in modules:
            del vars(each)["log"]
        trainer.loggers = loggers


def _ignore(*_: Any, **__: Any) -> None:
    """In the place of self.log."""


@contextlib.contextmanager
def _apart(trainer: Any) -> Iterator[None]:
    """Inside, other passes over the loaders leave the fit's pass, which has begun, alone: their generators and their workers."""
    loaders = trainer.fit_loop._combined_loader.flattened
    persistent = [each for each in loaders if isinstance(each, DataLoader) and each.persistent_workers]
    workers = [loader._iterator for loader in persistent]
    with contextlib.ExitStack() as stack:
        for loader in loaders:
            stack.enter_context(preserved_generators(loader))
        for loader in persistent:
            loader._iterator = None
        try:
            yield
        finally:
            for loader, iterator in zip(persistent, workers, strict=True):
                loader._iterator = iterator


@contextlib.contextmanager
def _out_of_sight(trainer: Any) -> Iterator[None]:
    """Inside, what hangs on the module does not reach the Trainer, which no step changes: it may hold all the data."""
    modules = [each for each in trainer.lightning_module.modules() if vars(each).get("_trainer") is trainer]
    for each in modules:
        vars(each)["_trainer"] = weakref.proxy(trainer)
    try:
        yield
    finally:
        for each in modules:
            vars(each)["_trainer"] = trainer


@contextlib.contextmanager
def _hooked(trainer: Any, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, what Lightning does between the gradient and the step is done: the module's hooks, and its clipping."""
    module = trainer.lightning_module

    def before_step(*_: Any) -> None:
        module.on_after_backward()
        module.on_before_optimizer_step(optimizer)
        module.configure_gradient_clipping(
            optimizer,
            gradient_clip_val=trainer.gradient_clip_val,
            gradient_clip_algorithm=trainer.gradient_clip_algorithm,
        )

    handle = optimizer.register_step_pre_hook(before_step)
    try:
        yield
    finally:
        handle.remove()
