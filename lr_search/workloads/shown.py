"""A workload as a person reads it: a few lines, without addresses."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from lr_search.workloads.forms import GivenBatches, name_of
from lr_search.workloads.passes import length

if TYPE_CHECKING:
    from lr_search.workloads.workload import Workload

_WIDTH = 80


def workload_text(workload: Workload) -> str:
    """What is trained, on what, and for how long; in lines of at most 80 columns."""
    device = workload.torch_device if workload.device == "auto" else workload.device
    parts = [
        f"Workload: {name_of(workload.model)} by {name_of(workload.optimizer)}, loss {name_of(workload.loss)}",
        f"data: {_data_text(workload)}",
        f"{_count(workload.num_steps, 'step')}, evaluated every {workload.eval_every:,}; {workload.direction} "
        f"{workload.objective!r}; on {device}, {workload.precision}{_settings_text(workload)}",
    ]
    return "\n".join(line for part in parts for line in textwrap.wrap(part, _WIDTH, subsequent_indent="  "))


def workload_repr(workload: Workload) -> str:
    """The same in one line, as an object is shown among others."""
    made = f"model={name_of(workload.model)}, optimizer={name_of(workload.optimizer)}, loss={name_of(workload.loss)}"
    return f"Workload({made}, num_steps={workload.num_steps}, objective={workload.objective!r})"


def _data_text(workload: Workload) -> str:
    held = {"train": workload.train_data, "valid": workload.valid_data, "test": workload.test_data}
    batches = "" if workload.batch_size is None else f"; {workload.batch_size:,} examples a batch"
    return ", ".join(f"{name} {_source_text(source)}" for name, source in held.items() if source is not None) + batches


def _source_text(source: Any) -> str:
    data = source.data if isinstance(source, GivenBatches) else source
    examples = getattr(data, "dataset", None)
    if examples is not None:
        size = length(examples)
        return type(examples).__name__ if size is None else f"{type(examples).__name__} of {_count(size, 'example')}"
    size = length(data) if isinstance(source, GivenBatches) else None
    return name_of(data) if size is None else f"{name_of(data)} of {size:,} batches"


def _settings_text(workload: Workload) -> str:
    settings = [
        "" if workload.clip_norm is None else f"clip_norm={workload.clip_norm:g}",
        "" if workload.accumulate == 1 else f"accumulate={workload.accumulate}",
        "" if workload.param_groups is None else f"param_groups={name_of(workload.param_groups)}",
        ""
        if workload.combine is None
        else f"combine={workload.combine if isinstance(workload.combine, str) else name_of(workload.combine)}",
    ]
    return "".join(f", {each}" for each in settings if each)


def _count(number: int, one: str) -> str:
    return f"{number:,} {one if number == 1 else one + 's'}"
