"""The forms in which a workload's parts may come, and the functions that are made of them: a loader, a criterion, a module."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.loss import _Loss
from torch.utils.data import DataLoader

from lr_search.errors import MOST_QUOTED, InvalidInputError, WorkloadError, error_text, quoted
from lr_search.workloads.passes import ModelBatches

_OUTPUTS = {
    "input",
    "inputs",
    "output",
    "outputs",
    "pred",
    "preds",
    "prediction",
    "predictions",
    "logits",
    "y_pred",
    "y_hat",
    "yhat",
}
_TARGETS = {
    "target",
    "targets",
    "label",
    "labels",
    "y",
    "y_true",
    "truth",
}  # what a criterion's second argument is called


@dataclass(frozen=True)
class GivenBatches:
    """A loader, or another iterable of batches, as a function of no arguments: the same one each time, walked through again.

    A walk rewinds the generators that a loader holds to their seeds, so that every training of a seed sees the same batches.
    """

    data: Iterable[Any]

    def __call__(self) -> Iterable[Any]:
        """The loader."""
        return self.data


@dataclass(frozen=True)
class CriterionLoss:
    """A criterion of (output, target) as a loss of (model, batch), for batches (input, target)."""

    criterion: Any

    def __call__(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """The loss. Raises: WorkloadError: the batch is no (input, target), or one example of it."""
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            came = (
                f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, tuple | list) else type(batch).__name__
            )
            raise WorkloadError(
                f"A loss of (output, target) such as {name_of(self.criterion)} is understood for batches (input, target), but got "
                f"{came}. Write one of (model, batch): {_written(self.criterion)}."
            )
        inputs, targets = batch
        if isinstance(targets, int | float) or getattr(targets, "ndim", 1) == 0:
            raise WorkloadError(
                f"A loss such as {name_of(self.criterion)} is understood for batches of several examples, but got a target without "
                "dimensions: one example. Put a loader around the data: torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)."
            )
        outputs = model(inputs)
        if isinstance(self.criterion, nn.Module) and isinstance(outputs, torch.Tensor):
            _move(self.criterion, outputs.device)
        loss: torch.Tensor = self.criterion(outputs, targets)
        return loss


@dataclass(frozen=True)
class ModuleCopies:
    """A module as a function that makes modules: a new copy each time, with the weights that it had when it was given."""

    module: nn.Module

    def __call__(self) -> nn.Module:
        """A new copy."""
        return copy.deepcopy(self.module)


def as_model(given: Any) -> Any:
    """() -> module, of such a function or of a module.

    Raises:
        InvalidInputError: the module cannot be copied.
    """
    if not isinstance(given, nn.Module):
        return given
    try:
        return ModuleCopies(copy.deepcopy(given))
    except Exception as error:
        raise InvalidInputError(
            f"A module that is given as model must be one that can be copied for each trial, but copying it raised "
            f"{error_text(error)}. Pass a function that makes it: model=lambda: ..."
        ) from error


def as_loss(given: Any) -> Any:
    """(model, batch) -> scalar tensor, of such a function or of one of torch's criteria.

    Raises:
        InvalidInputError: it is a criterion that torch does not have, or that takes more than (output, target).
    """
    inner = given
    while isinstance(inner, functools.partial):
        inner = inner.func
    known = isinstance(inner, _Loss) or getattr(inner, "__module__", "") == "torch.nn.functional"
    names = _first_names(given)
    looks_so = known or (len(names) == 2 and names[0] in _OUTPUTS and names[1] in _TARGETS)
    if isinstance(inner, type) and issubclass(inner, _Loss):
        raise InvalidInputError(
            f"loss must be a loss, but got the class {inner.__name__}. Pass an object of it: {inner.__name__}()."
        )
    if not looks_so:
        return given
    if known and len(names) == 2 and not isinstance(inner, type):
        return CriterionLoss(given)
    takes = ", ".join(names)
    raise InvalidInputError(
        f"loss must be a function of (model, batch), or one of torch's criteria of (output, target), but got {name_of(inner)}, which "
        f"takes ({takes}). Write one of (model, batch): {_written(inner)}."
    )


def as_source(name: str, given: Any) -> Any:
    """() -> batches, of such a function or of a loader or another iterable that can be walked through again; or `ModelBatches`.

    Args:
        name: what the user calls it.
        given: by the user.

    Raises:
        InvalidInputError: it can be walked through once only, or gives examples rather than batches.
    """
    if isinstance(given, ModelBatches):
        return given
    if callable(given):
        return ModelBatches(given) if len(_first_names(given)) == 1 and not isinstance(given, type) else given
    takes = f"{name} must be a DataLoader or another iterable of batches that can be walked through again, or a function that makes one"
    if isinstance(given, Iterator):
        raise InvalidInputError(
            f"{takes}, but got {_short(given)}, which is used up after one pass. Pass the loader itself, list(...) of the batches, "
            "or a function that makes the iterator anew: lambda: ..."
        )
    if is_data_set(given):
        raise InvalidInputError(
            f"{takes}, but got the data set {_short(given)}, which gives examples, not batches. Wrap it: torch.utils.data.DataLoader(data, "
            "batch_size=32, shuffle=True); or hand it to lrs.classification or lrs.regression. Where it does give batches: lambda: data."
        )
    if isinstance(given, tuple) and given and all(isinstance(each, torch.Tensor | np.ndarray) for each in given):
        raise InvalidInputError(
            f"{takes}, but got a tuple of {len(given)} tensors. Where these are inputs and targets, hand them to lrs.classification or "
            "lrs.regression; where they are batches, pass a list."
        )
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping) or getattr(given, "ndim", 1) == 0:
        raise InvalidInputError(f"{takes}, but got {quoted(given)}.")
    return GivenBatches(given)


def is_data_set(value: Any) -> bool:
    """Whether it holds examples, as torch's and other libraries' data sets do: by its class's name, or it is indexed and not iterated over."""
    named = {base.__name__ for base in type(value).__mro__} & {"Dataset", "IterableDataset"}
    return bool(named) or (hasattr(value, "__getitem__") and not hasattr(value, "__iter__"))


def is_loader(value: Any) -> bool:
    """Whether it gives batches and not examples: a DataLoader, or what is iterated over and not indexed."""
    return isinstance(value, DataLoader) or (
        isinstance(value, Iterable)
        and not isinstance(value, type)
        and not hasattr(value, "__getitem__")
        and not is_data_set(value)
    )


def loader_batch_size(loader: Any) -> int | None:
    """Examples in a batch of a loader; None where that is not known."""
    size = getattr(loader, "batch_size", None)
    return size if isinstance(size, int) and size >= 1 else None


def name_of(value: Any) -> str:
    """What a function, class or object is called, without an address: `make_model`, `SGD(momentum=0.9)`, `CrossEntropyLoss`."""
    if isinstance(value, ModuleCopies):
        return f"copies of a {type(value.module).__name__}"
    if isinstance(value, ModelBatches):
        return name_of(value.make)
    if isinstance(value, GivenBatches | CriterionLoss):
        return name_of(value.data if isinstance(value, GivenBatches) else value.criterion)
    if hasattr(value, "in_turn"):  # several losses, or the functions that make optimizers
        return " and ".join(map(name_of, value.in_turn))
    if hasattr(value, "of_outputs"):  # a loss or metrics of `supervised`
        return name_of(value.of_outputs)
    if isinstance(value, functools.partial):
        settings = [*map(_short, value.args), *(f"{key}={_short(each)}" for key, each in value.keywords.items())]
        return f"{name_of(value.func)}({', '.join(settings)})"
    name = getattr(value, "__name__", None)
    if name == "<lambda>":
        return "a lambda"
    return name if isinstance(name, str) else type(value).__name__


def _short(value: Any) -> str:
    if type(value) in (tuple, list):
        return f"({', '.join(map(_short, value))})"[:MOST_QUOTED]
    plain = isinstance(value, bool | int | float | str | None)
    return quoted(value)[:MOST_QUOTED] if plain else name_of(value)


def _first_names(function: Any) -> list[str]:
    """The arguments by position that a function needs; empty where that cannot be told."""
    try:
        parameters = inspect.signature(
            function.forward if isinstance(function, nn.Module) else function
        ).parameters.values()
    except (TypeError, ValueError):
        return []
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in parameters if each.kind in by_place and each.default is each.empty]


def _written(criterion: Any) -> str:
    called = "criterion" if isinstance(criterion, nn.Module) or name_of(criterion) == "a lambda" else name_of(criterion)
    return f"loss=lambda model, batch: {called}(model(batch[0]), batch[1]), with what your batches hold in place of batch[0] and batch[1]"


def _move(criterion: nn.Module, device: torch.device) -> None:
    """Put a criterion's weights where the outputs are."""
    if any(buffer.device != device for buffer in criterion.buffers()):
        criterion.to(device)
