"""The callback of a trial's fit: it follows the schedule of a run, validates where the run wants it, and reports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from lr_search.errors import Stop, WorkloadError
from lr_search_lightning.led_processes import FitState, agreed, num_processes
from lr_search_lightning.lightning_names import Callback
from lr_search_lightning.ramp_in_fit import muted, require_automatic

NEVER = 2**62  # batches until Lightning's loop validates: after every one where this is 1


class FitFollower(Callback):  # type: ignore[misc]  # of whichever package is installed
    """Puts a fit under the schedule of a run, and reports to it: the loss of every step, the objective at every checkpoint.

    Lightning's loop validates exactly at the run's checkpoints, whatever rhythm the Trainer has. Under DDP every process has one;
    what the first one's run says holds for all.

    Args:
        run: of the trial; in other processes than the first a `LedRun`.
        monitor: what is reported.
    """

    def __init__(self, run: Any, monitor: str) -> None:
        self._run, self._monitor = run, monitor
        self._scheduler: Any = None
        self._lrs: list[float] = []
        self._losses: list[torch.Tensor] = []  # of the batches of the present step
        self._global_step = 0
        self._meanwhile = contextlib.ExitStack()
        self._ended: Exception | None = None  # why, where this process has met it

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The fit is set up: the run's schedule takes the place of the module's schedulers."""
        trainer._signal_connector.teardown()  # SIGTERM ends the comparison, which goes on later, not this fit alone
        if self._run.ramping:
            require_automatic(pl_module)
            self._meanwhile.enter_context(muted(trainer))
            trainer.fit_loop.max_epochs = trainer.fit_loop.epoch_loop.max_steps = -1
        with self._kept():
            self._scheduler = attach_run(self._run, trainer)
        self._agree(trainer)
        trainer.check_val_every_n_epoch = trainer._val_check_time_interval = None
        trainer.val_check_batch = NEVER

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count a step where one was taken, and have the validation run where one is due."""
        trainer.val_check_batch = NEVER
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, torch.Tensor):
            self._losses.append(loss.detach() * trainer.accumulate_grad_batches)  # by which Lightning has divided it
        if trainer.global_step == self._global_step:
            return
        self._global_step = trainer.global_step
        losses, self._losses = self._losses, []
        mean = torch.stack(losses).mean() if losses else None
        if mean is not None and num_processes() > 1:
            mean = trainer.strategy.reduce(mean, reduce_op="mean")
        with self._kept():
            self._require_own_lrs(trainer)
            self._scheduler.step()
            if mean is not None:
                self._run.loss(mean)
        if self._agree(trainer).due:
            self._meanwhile.enter_context(self._run.evaluating())
            trainer.val_check_batch = 1

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the objective."""
        self._meanwhile.close()
        with self._kept():
            metrics = trainer.callback_metrics
            if self._monitor not in metrics:
                raise WorkloadError(
                    f"monitor must be a name that the module logs in validation_step, but got {self._monitor!r}; logged: "
                    f"{', '.join(sorted(metrics)) or 'nothing'}."
                )
            self._run.report(**{self._monitor: float(metrics[self._monitor])})
        self._agree(trainer)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """An exception inside is kept until all processes know of it."""
        try:
            yield
        except Exception as error:
            self._ended = error

    def _agree(self, trainer: Any) -> FitState:
        """Do in every process what the first one's run says. Raises: what has ended it."""
        mine = FitState.of(trainer.optimizers, due=bool(self._run.due), over=self._ended is not None)
        state = agreed(trainer, mine)
        if state is not mine:
            state.set_on(trainer.optimizers)
        if self._ended is not None:
            raise self._ended
        if state.over:
            raise Stop("the first process has ended this training")
        self._lrs = _lrs(trainer)
        return state

    def _require_own_lrs(self, trainer: Any) -> None:
        if any(now != before for now, before in zip(_lrs(trainer), self._lrs, strict=True)):
            raise WorkloadError(
                "The learning rates of a trial must be its schedule's, but something else has set them: look for param_groups in "
                "the module's optimizer_step, training_step and hooks."
            )

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """The fit is over."""
        self._meanwhile.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The fit was ended."""
        self._meanwhile.close()


def _lrs(trainer: Any) -> list[float]:
    """Those that can be read without waiting for a device."""
    groups = (group for optimizer in trainer.optimizers for group in optimizer.param_groups)
    return [group["lr"] for group in groups if isinstance(group["lr"], float)]


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
