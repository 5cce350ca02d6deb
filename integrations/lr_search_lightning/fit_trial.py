"""One trial of a comparison: the user's own fit, followed by one callback."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lr_search.errors import WorkloadError
from lr_search_lightning.lightning_names import Callback, home_of, quiet, require_data
from lr_search_lightning.ramp_in_fit import muted, require_automatic

NEVER = 2**62  # batches until Lightning's loop validates: it does where this is 1


@dataclass(frozen=True)
class FitTrial:
    """Calls the user's factories and fits, under the schedule of a run; the `train` of a `Trainable`.

    Args:
        make_module: () -> LightningModule.
        datamodule: a LightningDataModule, (training loader, validation loader), or a function that makes one of these; None: the
            module has its own loaders. What is given made is copied for each trial, so that each begins with the same.
        trainer: () -> Trainer.
        monitor: what the module logs in its validation, the objective.
        keep_callbacks: classes of those of the Trainer's callbacks that stay; all others are left out.
    """

    make_module: Callable[..., Any]
    datamodule: Any
    trainer: Callable[..., Any]
    monitor: str
    keep_callbacks: Sequence[type] = ()

    def __call__(self, run: Any) -> None:
        """Fit once. Raises: Stop: the run was ended; the Trainer has been torn down by then."""
        self.fit(FitFollower(run, self.monitor))

    def fit(self, follower: Any) -> None:
        """Fit once, with this callback, without loggers, checkpoints, and all that shows something."""
        module = self.make_module()
        home = home_of(module, "make_module()", "LightningModule")
        with quiet(home):
            data, trainer = _made(self.datamodule), self.trainer()
            require_data(module, data, home)
            home_of(trainer, "trainer()", "Trainer")
            kept = [each for each in trainer.callbacks if type(each) in self.keep_callbacks]
            trainer.callbacks, trainer.loggers, trainer.num_sanity_val_steps = [follower, *kept], [], 0
            vars(module)["configure_callbacks"] = list
            if isinstance(data, tuple):
                trainer.fit(module, *data)
            else:
                trainer.fit(module, datamodule=data)


def _made(datamodule: Any) -> Any:
    """The data of one trial, as they were given."""
    if callable(datamodule):
        return datamodule()
    used_by = getattr(datamodule, "trainer", None)  # of a fit before
    return copy.deepcopy(datamodule, {} if used_by is None else {id(used_by): None})


class FitFollower(Callback):  # type: ignore[misc]  # of whichever package is installed
    """Puts a fit under the schedule of a run, and reports to it: the loss of every step, the objective at every checkpoint.

    Lightning's loop validates exactly at the run's checkpoints, whatever rhythm the Trainer has.

    Args:
        run: of the trial.
        monitor: what is reported.
    """

    def __init__(self, run: Any, monitor: str) -> None:
        self._run, self._monitor = run, monitor
        self._scheduler: Any = None
        self._lrs: list[Any] = []
        self._losses: list[torch.Tensor] = []  # of the batches of the present step
        self._global_step = 0
        self._meanwhile = contextlib.ExitStack()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The fit is set up: the run's schedule takes the place of the module's schedulers."""
        self._scheduler = attach_run(self._run, trainer)
        self._lrs = _lrs(trainer)
        if self._run.ramping:
            require_automatic(pl_module)
            self._meanwhile.enter_context(muted(trainer))
            trainer.fit_loop.max_epochs = trainer.fit_loop.epoch_loop.max_steps = -1
        trainer.check_val_every_n_epoch = trainer._val_check_time_interval = None
        trainer.val_check_batch = NEVER

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count a step where one was taken, and have the validation run where one is due."""
        trainer.val_check_batch = NEVER
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, torch.Tensor):
            self._losses.append(loss.detach())
        if trainer.global_step == self._global_step:
            return
        self._global_step = trainer.global_step
        self._require_own_lrs(trainer)
        losses, self._losses = self._losses, []
        self._scheduler.step()
        self._lrs = _lrs(trainer)
        if losses:
            # Lightning has divided each by accumulate_grad_batches
            self._run.loss(torch.stack(losses).mean() * trainer.accumulate_grad_batches)
        if self._run.due:
            self._meanwhile.enter_context(self._run.evaluating())
            trainer.val_check_batch = 1

    def _require_own_lrs(self, trainer: Any) -> None:
        if any(now != before for now, before in zip(_lrs(trainer), self._lrs, strict=True)):
            raise WorkloadError(
                "The learning rates of a trial must be its schedule's, but something else has set them: look for param_groups in "
                "the module's optimizer_step, training_step and hooks."
            )

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the objective."""
        self._meanwhile.close()
        metrics = trainer.callback_metrics
        if self._monitor not in metrics:
            raise WorkloadError(
                f"monitor must be a name that the module logs in validation_step, but got {self._monitor!r}; logged: "
                f"{', '.join(sorted(metrics)) or 'nothing'}."
            )
        self._run.report(**{self._monitor: float(metrics[self._monitor])})

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """The fit is over."""
        self._meanwhile.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The fit was ended."""
        self._meanwhile.close()


def attach_run(run: Any, trainer: Any) -> Any:
    """Put the optimizers under the run's schedule, from the LRs that configure_optimizers built them with; its schedulers do nothing."""
    optimizers = list(trainer.optimizers)
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        if "initial_lr" in group:
            group["lr"] = group["initial_lr"]
    scheduler = run.attach(optimizers[0] if len(optimizers) == 1 else optimizers)
    for config in trainer.lr_scheduler_configs:
        config.scheduler, config.interval, config.reduce_on_plateau = StillScheduler(optimizers[0]), "never", False
    return scheduler


class StillScheduler:
    """What a module finds under `self.lr_schedulers()` in a trial: it shows the LRs, and changes none.

    Args:
        optimizer: whose LRs.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def step(self, *_: Any, **__: Any) -> None:
        """Nothing: the run's schedule sets the LR."""

    def get_last_lr(self) -> list[float]:
        """Of each parameter group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]


def _lrs(trainer: Any) -> list[float]:
    """Those that can be read without waiting for a device."""
    groups = (group for optimizer in trainer.optimizers for group in optimizer.param_groups)
    return [group["lr"] for group in groups if isinstance(group["lr"], float)]
