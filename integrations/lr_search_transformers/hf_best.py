"""The answer of a comparison as a Trainer takes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import Trainer

from lr_search.comparison.comparison import Comparison
from lr_search.errors import InvalidInputError
from lr_search.kinds.checked import checked
from lr_search.results.recommendation import Recommendation
from lr_search.schedules.base import Schedule
from lr_search.schedules.named import by_name
from lr_search_transformers.hf_schedules import lr_arguments


@checked
@dataclass(frozen=True)
class BestTraining:
    """What to train a Trainer with.

    Args:
        recommendation: of the comparison: the LR, the schedule's name, how sure that is.
        schedule: at that LR, for the comparison's number of steps.
    """

    recommendation: Recommendation
    schedule: Schedule

    @property
    def lr(self) -> float:
        """The peak LR."""
        return self.recommendation.lr

    def training_arguments(self) -> dict[str, Any]:
        """learning_rate, lr_scheduler_type, lr_scheduler_kwargs and warmup_steps, for `TrainingArguments(..., **these)`.

        Transformers' LRs were compared with those of the search at every step of the training.

        Raises:
            InvalidInputError: Transformers has no such schedule.
        """
        found = lr_arguments(self.schedule, self.recommendation.num_steps)
        if found is None:
            raise InvalidInputError(
                f"training_arguments() needs a schedule that Transformers has too, but got {self.recommendation.schedule_text}. "
                "Call best.attach(trainer), after which trainer.train() follows it, or compare linear, cosine, wsd, ..."
            )
        return found

    def attach(self, trainer: Trainer) -> None:
        """Let `trainer.train()` follow the schedule, whatever its TrainingArguments say of LR and schedule.

        Unlike `optimizers=`, which a Trainer with model_init refuses, it also holds for a model that is yet to be made.
        """
        setattr(trainer, "create_scheduler", partial(_create_scheduler, trainer, self.schedule))  # noqa: B010  it is a method


def _create_scheduler(
    trainer: Any,
    schedule: Schedule,
    num_training_steps: int,
    optimizer: torch.optim.Optimizer | None = None,
) -> Any:
    trainer.lr_scheduler = schedule.attach(trainer.optimizer if optimizer is None else optimizer)
    return trainer.lr_scheduler


@checked
def best(comparison: Comparison) -> BestTraining:
    """The recommendation of a comparison, as a Trainer takes it.

    Args:
        comparison: of `lr_search_transformers.compare`, or loaded.

    Raises:
        LRSearchError: no trial is complete, or all diverged.
        InvalidInputError: it was loaded, and its schedule is no schedule by name alone.
    """
    found = comparison.recommend()
    return BestTraining(found, _schedule_of(comparison, found))


def _schedule_of(comparison: Comparison, found: Recommendation) -> Schedule:
    schedule: Any
    if comparison._asked is not None:
        schedule = comparison._asked.layouts[found.schedule](found.lr, **found.shape)
    else:
        plan = next(study.plan for study in comparison.searches if study.plan["schedule"] == found.schedule)
        name, per_epoch = plan.get("by_name"), plan.get("steps_per_epoch")
        schedule = by_name(name, found.lr, found.num_steps, per_epoch, **found.shape) if name else None
    if not isinstance(schedule, Schedule):
        raise InvalidInputError(
            f"best() needs a schedule that depends on the step alone and is known, but got {found.schedule!r}. A controller such as "
            "plateau goes by the evaluations. For a schedule of your own call compare(...) as before: what is finished is not "
            "trained again, and its result knows the schedule."
        )
    return schedule
