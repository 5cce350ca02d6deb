"""compare() for a LightningModule: every trial is one fit of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from lr_search.comparison.compare import compare as compare_trainable
from lr_search.comparison.comparison import Comparison
from lr_search.errors import require
from lr_search.executors.display.logger import LOGGER
from lr_search.executors.local import LocalExecutor
from lr_search.kinds.checked import checked
from lr_search.workloads.trainable import Trainable
from lr_search_lightning.fit_facts import FitFacts, facts_of
from lr_search_lightning.fit_follower import FitFollower
from lr_search_lightning.fit_trial import FitTrial
from lr_search_lightning.led_processes import is_led, num_processes, tell, train_led

CONFIGURE_OPTIMIZERS = """\
def configure_optimizers(self):  # in your LightningModule, in the place of the schedulers it has
    optimizer = ...  # as you make it now
    schedule = {schedule}
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule.attach(optimizer), "interval": "step"}}
"""


@checked
def compare(
    make_module: Callable[..., Any],
    datamodule: Any = None,
    *,
    trainer: Callable[..., Any],
    monitor: str = "val_loss",
    direction: Literal["minimize", "maximize"] = "minimize",
    num_steps: int | None = None,
    eval_every: int | None = None,
    keep_callbacks: Sequence[type] = (),
    **comparison: Any,
) -> Comparison | None:
    """Search the learning rate of a module in several ways under several schedules, each trial a fit of your own.

    A trial calls the factories after the seeds are set, takes what configure_optimizers makes, leaves out its schedulers, and
    runs `trainer.fit` under the schedule that is tried; each parameter group keeps the ratio of its LR to the first one's.
    Accumulation, clipping, precision and devices are the Trainer's. Its loggers, its checkpoints and its callbacks are left out,
    also those of the module's configure_callbacks. Validation runs at the checkpoints of the comparison, the last step among them.

    Under DDP all processes call it; the first one decides, and it alone writes.

    Args:
        make_module: () -> LightningModule.
        datamodule: a LightningDataModule, (training loader, validation loader), or a function that makes one of these; None: the
            module has its own loaders. What is given made is copied for each trial.
        trainer: () -> Trainer, that ends by max_epochs or max_steps.
        monitor: the objective: a name that the module logs in its validation.
        direction: "minimize" or "maximize".
        num_steps: optimizer steps of a fit. Default: the Trainer's estimated_stepping_batches; to be given where a module with
            manual optimization does not step once a batch.
        eval_every: steps between checkpoints. Default: by the Trainer's own rhythm of validation.
        keep_callbacks: classes of the Trainer's callbacks that a trial needs, such as EMAWeightAveraging; none that sets the LR.
        **comparison: as of `lr_search.compare`: strategies, schedules, budget, seeds, pruner, executor, storage, name, ...

    Returns:
        The comparison; None in other processes than the first.

    Raises:
        InvalidInputError: an argument breaks a rule, or the fit cannot be a trial.
        WorkloadError: the fit cannot be trained, or does not log the monitor.
        MissingPackageError: Lightning is not installed.
    """
    made = isinstance(make_module, torch.nn.Module)
    rule = "make_module must be a function that makes a module, a new one for each trial"
    require(not made, rule, "Pass its class, or lambda: Net(...).", make_module=make_module)
    trial = FitTrial(make_module, datamodule, trainer, monitor, tuple(keep_callbacks))
    facts = facts_of(trial)
    trainable = _trainable(trial, facts, direction, num_steps, eval_every)
    if facts.has_schedulers and comparison.get("progress", True) and not is_led():
        LOGGER.info("The module's own LR schedulers are left out: the schedules that are compared take their place.")
    if num_processes() > 1:
        return _led(trial, trainable, comparison)
    return compare_trainable(trainable, **comparison)


def _led(trial: FitTrial, trainable: Trainable, comparison: dict[str, Any]) -> Comparison | None:
    """The comparison in the first of several processes; the others train with it."""
    executor = comparison.get("executor")
    rule = "under DDP a comparison runs its trials one after the other, in the processes that train together"
    require(executor is None or isinstance(executor, LocalExecutor), rule, "Leave executor out.", executor=executor)
    if is_led():
        train_led(lambda run: trial.fit(FitFollower(run, trial.monitor)), trial.ramp)
        return None
    try:
        compared = compare_trainable(trainable, **comparison)
    except Exception:
        tell(None)
        raise
    tell(None)
    return compared


def _trainable(
    trial: FitTrial,
    facts: FitFacts,
    direction: Literal["minimize", "maximize"],
    num_steps: int | None,
    eval_every: int | None,
) -> Trainable:
    """The fit, with its steps and its rhythm."""
    steps = num_steps or facts.num_steps
    require(
        steps is not None,
        "the Trainer must end by itself",
        "Give it max_steps, or max_epochs and training data that have a length.",
    )
    assert steps is not None
    every = eval_every or (facts.validation_steps and min(facts.validation_steps, steps))
    return Trainable(
        trial, num_steps=steps, objective=trial.monitor, direction=direction, eval_every=every,
        steps_per_epoch=facts.steps_per_epoch, batch_size=facts.batch_size, pasted=CONFIGURE_OPTIMIZERS,
        own_range_test=trial.own_range_test if facts.has_plain_steps else None,
    )  # fmt: skip
