"""One trial of a comparison: the user's own fit, with one callback of ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lr_search.curves.curve import LRCurve
from lr_search.errors import WorkloadError, require
from lr_search.own_loops.training_run import TrainingRun
from lr_search.ramp.settings import RampSettings
from lr_search.rng import preserved_rng, seed_everything
from lr_search.workloads.devices import device_named
from lr_search.workloads.forms import name_of
from lr_search_lightning.at_train_start import AtTrainStart
from lr_search_lightning.fit_follower import FitFollower
from lr_search_lightning.led_processes import Order, tell
from lr_search_lightning.lightning_names import ctrl_c, home_of, require_data, without_advice
from lr_search_lightning.ramp_in_fit import ramp_in_fit


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

    @property
    def __name__(self) -> str:
        return f"fit of {name_of(self.make_module)}"

    def __call__(self, run: TrainingRun) -> None:
        """Fit once, from the beginning; under DDP together with the other processes.

        Raises:
            Stop: nothing more is wanted of this training; the Trainer has been torn down.
            WorkloadError: the fit ended too early.
        """
        tell(Order(run.seed, ramping=run.ramping))
        self.fit(FitFollower(run, self.monitor))
        if not run.done and not run.ramping:
            raise WorkloadError(
                f"The fit must take num_steps={run.num_steps} optimizer steps, but it took {run.steps_done}. Give the number it takes: "
                f"compare(..., num_steps={run.steps_done}); or look for what ends it: max_epochs, max_steps, batches that lack a step."
            )

    def own_range_test(self, seed: int, settings: RampSettings) -> LRCurve:
        """The range test of a fit of that seed, with its gain ratio."""
        tell(Order(seed, ramp=settings))
        with preserved_rng(device_named("auto")):
            seed_everything(seed)
            return self.ramp(settings)

    def ramp(self, settings: RampSettings) -> LRCurve:
        """Set a fit up, and run the ramp in the place of its training."""
        ramped = AtTrainStart(
            partial(ramp_in_fit, **{name: value for name, value in vars(settings).items() if name != "valid_batches"})
        )
        self.fit(ramped)
        curve: LRCurve = ramped.found
        return curve

    def fit(self, follower: Any) -> None:
        """Fit once, with this callback, without loggers, checkpoints, and all that shows something."""
        module = self.make_module()
        home = home_of(module, "make_module()", "LightningModule")
        with without_advice(home), ctrl_c():
            data, trainer = _made(self.datamodule), self.trainer()
            require_data(module, data, home)
            home_of(trainer, "trainer()", "Trainer")
            rule, steps = "trainer() must make a new Trainer each time it is called", trainer.global_step
            require(steps == 0, rule, "Make it inside: lambda: Trainer(...).", global_step=steps)
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
