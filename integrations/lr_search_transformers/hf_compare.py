"""compare() of a Trainer: learning rates and schedules, each trial a Trainer like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers import Trainer, TrainerCallback

from lr_search.comparison.compare import compare as compare_trainable
from lr_search.comparison.comparison import Comparison
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.schedules.base import Schedule
from lr_search.schedules.named import by_name
from lr_search.studies.schedule_layout import PEAK
from lr_search.workloads.trainable import Trainable
from lr_search_transformers.hf_batches import steps_in_epoch, steps_of_training
from lr_search_transformers.hf_checks import require_one_process, require_untrained
from lr_search_transformers.hf_range_test import left_as_it_was
from lr_search_transformers.hf_schedules import planned_schedule
from lr_search_transformers.hf_trainer_like import TrainerLike
from lr_search_transformers.hf_trial import TrainerTrial

TRAINER_CODE = """\
schedule = {schedule}


def create_scheduler(num_training_steps, optimizer=None):
    trainer.lr_scheduler = schedule.attach(trainer.optimizer)
    return trainer.lr_scheduler


trainer.create_scheduler = create_scheduler  # of your Trainer, before trainer.train()
"""


@checked
def compare(
    trainer: Trainer,
    *,
    objective: str = "eval_loss",
    direction: Literal["minimize", "maximize"] | None = None,
    schedules: str | Sequence[str] | Mapping[str, Any] | None = None,
    eval_every: int | None = None,
    callbacks: Sequence[type[TrainerCallback]] | None = None,
    **settings: Any,
) -> Comparison:
    """Search the learning rate of a Trainer under several schedules; each trial trains a Trainer of its own, made like it.

    A trial's Trainer has its class, data, collator, metrics and functions, and its TrainingArguments but for the schedule, the
    seed, and what reports, saves or logs. It starts from model_init at the trial's seed, and evaluates when a trial is to be judged.

    Args:
        trainer: with model_init and eval_dataset, that has not trained, on one device. It is left as it was.
        objective: a metric of `trainer.evaluate()`, with or without its "eval_".
        direction: "minimize" or "maximize"; default: a loss is minimized, any other metric maximized, as by metric_for_best_model.
        schedules: as of `lr_search.compare`; default: the one that lr_scheduler_type names. Those given by name begin with the
            warm-up of the Trainer's arguments, where they have one.
        eval_every: optimizer steps between two evaluations, >= 1; default: a tenth of the training.
        callbacks: classes of TrainerCallback that every trial has, made without arguments. Must be given where the Trainer has
            callbacks of your own; those of Transformers, which log, save or stop, are in no trial.
        **settings: of `lr_search.compare`: strategies, lr_range, today, budget, seeds, pruner, executor, storage, name, ...

    Returns:
        The comparison; `best(comparison)` has the TrainingArguments of its recommendation.

    Raises:
        InvalidInputError: the Trainer has no model_init or eval_dataset, has trained, or uses DeepSpeed, FSDP or several devices;
            or a setting breaks its rule.
    """
    require_one_process(trainer)
    require_untrained(trainer)
    _require_comparable(trainer, callbacks)
    objective = objective if objective.startswith("eval_") else f"eval_{objective}"
    like = TrainerLike.of(trainer, callbacks or ())
    with left_as_it_was(trainer):
        loader = trainer.get_train_dataloader()
        num_steps, per_epoch = steps_of_training(trainer, loader), steps_in_epoch(trainer, loader)
    if schedules is None:
        schedules = planned_schedule(trainer.args.lr_scheduler_type) or "constant"
    asked = _warmed(schedules, num_steps, per_epoch, trainer.args.get_warmup_steps(num_steps))
    trial = TrainerTrial(like, objective, num_steps)
    trainable = Trainable(
        trial, num_steps=num_steps, objective=objective, eval_every=eval_every, steps_per_epoch=per_epoch,
        direction=direction or ("minimize" if objective.endswith("loss") else "maximize"),
        batch_size=trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps, pasted=_pasted(asked),
        own_range_test=trial.own_range_test,
    )  # fmt: skip
    return compare_trainable(trainable, schedules=asked, **settings)


def _require_comparable(trainer: Trainer, callbacks: Sequence[type] | None) -> None:
    require(
        trainer.model_init is not None,
        "the Trainer must have a model_init, from which every trial begins anew",
        "Trainer(model_init=make_model, ...), a function that returns the model, in place of model=.",
        model_init=trainer.model_init,
    )
    require(
        trainer.eval_dataset is not None,
        "the Trainer must have an eval_dataset, by which the trials are judged",
        "Trainer(..., eval_dataset=...).",
        eval_dataset=trainer.eval_dataset,
    )
    held = [type(each) for each in trainer.callback_handler.callbacks]
    own = [each.__name__ for each in held if not each.__module__.startswith("transformers.")]
    require(
        not own or callbacks is not None,
        "callbacks must name those of the Trainer's callbacks that every trial is to have",
        f"callbacks=[{', '.join(own)}]; or callbacks=[], for none of them.",
        got=own,
    )


@dataclass(frozen=True)
class WarmedUp:
    """A schedule by name, after the warm-up of a Trainer's arguments; called with the peak LR.

    Args:
        name: of the schedule.
        num_steps: of the training, the warm-up's among them.
        steps_per_epoch: or None where the data has no length.
        warmup_steps: >= 1.
    """

    name: str
    num_steps: int
    steps_per_epoch: float | None
    warmup_steps: int

    def __call__(self, lr: float) -> Schedule:
        """The schedule at that peak."""
        return by_name(self.name, lr, self.num_steps, self.steps_per_epoch, warmup_steps=self.warmup_steps)


def _warmed(schedules: Any, num_steps: int, per_epoch: float | None, warmup_steps: int) -> Any:
    """What is asked for, with the warm-up before each schedule that is given by its name; controllers have none."""
    if not warmup_steps:
        return schedules
    if isinstance(schedules, str):
        schedules = [schedules]
    named = schedules if isinstance(schedules, Mapping) else {name: name for name in schedules}
    asked = dict(named)
    for key, name in named.items():
        if isinstance(name, str) and isinstance(by_name(name, PEAK, num_steps, per_epoch), Schedule):
            asked[key] = WarmedUp(name, num_steps, per_epoch, warmup_steps)
    return asked


def _pasted(asked: Any) -> str:
    """The template of the answer's code, which also says what schedules with a warm-up are."""
    warmed = [each for each in asked.values() if isinstance(each, WarmedUp)] if isinstance(asked, Mapping) else []
    if not warmed:
        return TRAINER_CODE
    first, *others = warmed
    name = f"lrs.schedules.by_name({first.name!r}, lr, {first.num_steps}, {first.steps_per_epoch}, warmup_steps={first.warmup_steps})"
    remark = f"  # or {', '.join(repr(each.name) for each in others)}: as the answer says" if others else ""
    return f"def your_schedule(lr):\n    return {name}{remark}\n\n\n{TRAINER_CODE}"
