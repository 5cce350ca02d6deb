"""What a Trainer is made of, so that each trial trains one of its own: same class, data and functions, other TrainingArguments."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from lr_search.errors import InvalidInputError

# of Trainer's constructor, which keeps each as an attribute of that name
TAKEN = (
    "data_collator", "train_dataset", "eval_dataset", "processing_class", "model_init", "compute_loss_func", "compute_metrics",
    "optimizer_cls_and_kwargs", "preprocess_logits_for_metrics",
)  # fmt: skip
LEFT_OUT = ("self", "model", "args", "callbacks", "optimizers")
# no report, no checkpoint, no schedule and no evaluation but ours, and nothing that would change the batches
QUIET: dict[str, Any] = {
    "report_to": "none", "logging_strategy": "no", "logging_first_step": False, "logging_nan_inf_filter": False, "log_level": "error",
    "disable_tqdm": True, "save_strategy": "no", "push_to_hub": False, "eval_strategy": "no", "eval_on_start": False,
    "load_best_model_at_end": False, "metric_for_best_model": None, "greater_is_better": None, "resume_from_checkpoint": None,
    "auto_find_batch_size": False, "enable_jit_checkpoint": False, "skip_memory_metrics": True,
    "lr_scheduler_type": "constant", "lr_scheduler_kwargs": None, "warmup_steps": 0,
}  # fmt: skip


@dataclass(frozen=True)
class TrainerLike:
    """Makes Trainers like one that was given.

    Args:
        kind: its class.
        args: its TrainingArguments.
        constructor: what else its class is made with, by name.
        callbacks: TrainerCallbacks that every trial has, by class.
    """

    kind: type[Trainer]
    args: TrainingArguments
    constructor: Mapping[str, Any]
    callbacks: Sequence[type]

    @classmethod
    def of(cls, trainer: Trainer, callbacks: Sequence[type]) -> TrainerLike:
        """What that Trainer is made of. Raises: InvalidInputError: its class takes something that it does not keep."""
        own = _own_parameters(type(trainer))
        if lost := [name for name in own if not hasattr(trainer, name)]:
            kind = type(trainer).__name__
            raise InvalidInputError(
                f"Each trial makes a {kind} of its own, so {kind} must keep what it is made with, but got no attribute "
                f"{', '.join(lost)}. Set self.{lost[0]} = {lost[0]} in its __init__."
            )
        kept = {name: getattr(trainer, name) for name in (*TAKEN, *own)}
        return cls(type(trainer), trainer.args, kept, callbacks)

    def made(self, seed: int, num_steps: int, folder: str, *extension: type[Trainer]) -> Any:
        """A Trainer with nothing trained yet.

        Args:
            seed: of weights and batches.
            num_steps: it would train for.
            folder: its output_dir.
            *extension: a class to derive from first.
        """
        known = {field.name for field in dataclasses.fields(self.args)}  # by this version of Transformers
        args = dataclasses.replace(
            self.args,
            **{name: value for name, value in QUIET.items() if name in known},
            output_dir=folder,
            max_steps=num_steps,
            seed=seed,
            data_seed=None if self.args.data_seed is None else seed,
        )
        kind = type(self.kind.__name__, (*extension, self.kind), {})
        collator = copy.deepcopy(self.constructor["data_collator"])  # it may have a generator of its own
        constructor = {**self.constructor, "data_collator": collator}
        trainer = kind(args=args, callbacks=[each() for each in self.callbacks], **constructor)
        for shown in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(shown)
        return trainer


def _own_parameters(kind: type[Trainer]) -> list[str]:
    """What classes derived from Trainer take beside its own arguments."""
    own: list[str] = []
    for each in kind.__mro__[: kind.__mro__.index(Trainer)]:
        if "__init__" in vars(each):
            parameters = inspect.signature(vars(each)["__init__"]).parameters.values()
            own += [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return [name for name in dict.fromkeys(own) if name not in (*TAKEN, *LEFT_OUT)]
