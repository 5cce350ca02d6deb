"""The range test of a LightningModule, on a Trainer that has not trained yet; both are left as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from lr_search.curves.curve import LRCurve, Ramp
from lr_search.curves.training_plan import Plan
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.rng import preserved_rng
from lr_search_lightning.at_train_start import AtTrainStart
from lr_search_lightning.lightning_names import (
    ctrl_c,
    home_of,
    lightning_object,
    require_data,
    without_advice,
)
from lr_search_lightning.ramp_in_fit import ramp_in_fit


@checked
def range_test(
    trainer: Any,
    module: Any,
    datamodule: Any = None,
    *,
    start_lr: float = 1e-7,
    end_lr: float | None = None,
    num_steps: int | None = None,
    ramp: Ramp = "exponential",
    extend: bool | None = None,
    gain_ratio: bool | None = None,
    plan: Plan | None = None,
) -> LRCurve:
    """Set the fit up, train for a few steps while the LR rises, record the losses, and put everything back.

    The steps are the Trainer's: its precision, accumulation, clipping and devices, and the module's hooks. Each parameter group
    keeps the ratio of its LR to the first one's. Nothing is logged, no file is written, no callback is called. Weights, buffers,
    the Trainer and the random states are as they were; `trainer.fit` then trains as it would have without.

    Args:
        trainer: that has not trained yet.
        module: a LightningModule with automatic optimization, in the mode it is trained in.
        datamodule: as of `trainer.fit`; or the loader of the training data, or (training loader, validation loader), as `compare`
            takes them; None: the module has its own.
        start_lr: LR of the first group at the first step, > 0, or 0 for a linear ramp.
        end_lr: at the last step, > start_lr. Default: 10, and on from there while the gain ratio tells that steps keep their promise.
        num_steps: optimizer steps, >= 20. Default: 100, of a fit of fewer than 300 steps a third, but at least 20.
        ramp: "exponential" (even in log LR) or "linear".
        extend: go on beyond end_lr where nothing broke there, and begin again lower where start_lr was too high.
        gain_ratio: measure at every step the actual over the predicted reduction of the loss. Default: where it can be.
        plan: the training that is to follow. Default: as long as the fit.

    Returns:
        The curve, (n,): `curve.suggest(schedule="cosine").lr` is the LR to train with.

    Raises:
        InvalidInputError: an argument breaks a rule, or a range test cannot be run in a fit of this kind.
        WorkloadError: there are no batches, or the steps move no weight.
        MissingPackageError: Lightning is not installed.
    """
    home = home_of(trainer, "trainer", "Trainer")
    home_of(module, "module", "LightningModule")
    require_unfitted(trainer)
    require_data(module, datamodule, home)
    settings = {"start_lr": start_lr, "end_lr": end_lr, "ramp": ramp, "extend": extend, "gain_ratio": gain_ratio}
    # fit() would take a pair of loaders for one that gives a batch of each at a time
    data = datamodule if isinstance(datamodule, tuple) and len(datamodule) == 2 else (datamodule,)
    ramped = AtTrainStart(partial(ramp_in_fit, num_steps=num_steps, plan=plan, **settings))
    with preserved_rng(_device(trainer)), without_advice(home), ctrl_c(), _borrowed(trainer, module, ramped, home):
        trainer.fit(module, *data)
    curve: LRCurve = ramped.found
    return curve


def _device(trainer: Any) -> torch.device:
    device: torch.device = trainer.strategy.root_device
    return device


def require_unfitted(trainer: Any) -> None:
    """Refuse a Trainer that has trained: its counts of steps and epochs go on from there."""
    fitted = trainer.global_step > 0 or trainer.state.fn == "fit"
    remedy = "Make a new one: Trainer(...)."
    require(not fitted, "trainer must not have trained yet", remedy, global_step=trainer.global_step)


@contextlib.contextmanager
def _borrowed(trainer: Any, module: Any, callback: Any, home: str) -> Iterator[None]:
    """Inside, the Trainer has this callback alone, no loggers and no sanity check; afterwards it is as new."""
    kept = {
        name: getattr(trainer, name) for name in ("callbacks", "loggers", "num_sanity_val_steps", "limit_val_batches")
    }
    kept_trainer, kept_datamodule = module._trainer, trainer._data_connector._datahook_selector
    kept_state, attached = trainer.state, trainer.datamodule
    trainer.callbacks, trainer.num_sanity_val_steps, trainer.limit_val_batches = [callback], 0, 0
    trainer.loggers = [lightning_object(home, "loggers.logger", "DummyLogger")()] if kept["loggers"] else []
    trainer.state = lightning_object(home, "trainer.states", "TrainerState")()
    vars(module)["configure_callbacks"] = list
    try:
        yield
    finally:
        del vars(module)["configure_callbacks"]
        for name, value in kept.items():
            setattr(trainer, name, value)
        trainer.state, trainer.datamodule = kept_state, attached
        trainer._data_connector._datahook_selector = kept_datamodule
        module.trainer = kept_trainer
