"""The usual workloads: classification and regression on data sets of (input, target) pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lr_search.errors import InvalidInputError, quoted, require, unknown_name
from lr_search.kinds.checked import checked
from lr_search.kinds.direction import Direction
from lr_search.optimizers.names import OptimizerForms
from lr_search.workloads.forms import is_loader, loader_batch_size
from lr_search.workloads.workload import Workload

Data = Any  # a torch Dataset of (input, target) pairs, a pair of arrays or tensors (examples, ...), or a loader of such batches
USUAL_BATCH_SIZE, EVALUATED_AT_ONCE = 32, 256


@checked
def classification(
    *,
    model: Callable[[], nn.Module],
    optimizer: OptimizerForms,
    train: Data,
    valid: Data,
    test: Data | None = None,
    batch_size: int | None = None,
    objective: str = "loss",
    direction: Direction | None = None,
    **settings: Any,
) -> Workload:
    """A workload with cross-entropy as the loss; its metrics are `loss` and `accuracy`.

    Args:
        model: () -> nn.Module, or a module, that maps inputs to logits (examples, classes).
        optimizer: (params, lr=float) -> Optimizer.
        train: a torch `Dataset` of (input, class) pairs, a pair (inputs, classes) of arrays or tensors, or a DataLoader (or another
            iterable that can be walked through again) of (inputs, classes) batches.
        valid: in the form of `train`.
        test: in the form of `train`; read only to confirm a result.
        batch_size: examples a batch, >= 1. Default: 32; of a loader its own.
        objective: "loss" or "accuracy".
        direction: default: minimize the loss, maximize the accuracy.
        **settings: every other argument of `Workload`, but for the loss and the data's factories: num_steps or num_epochs, eval_every,
            device, ...; `metrics` replace those above.

    >>> workload = classification(
    ...     model=lambda: nn.Linear(4, 3),
    ...     optimizer=torch.optim.Adam,
    ...     train=(torch.randn(96, 4), torch.arange(96) % 3),
    ...     valid=(torch.randn(32, 4), torch.arange(32) % 3),
    ... )
    >>> workload.steps_per_epoch
    3.0
    """
    if direction is None:
        direction = "maximize" if objective == "accuracy" else "minimize"
    return _supervised(
        _Loss(functional.cross_entropy),
        _Metrics(_classification_metrics, ("loss", "accuracy")),
        torch.int64,
        (train, valid, test),
        batch_size,
        model=model,
        optimizer=optimizer,
        objective=objective,
        direction=direction,
        **{"combine": "softmax", **settings},
    )


@checked
def regression(
    *,
    model: Callable[[], nn.Module],
    optimizer: OptimizerForms,
    train: Data,
    valid: Data,
    test: Data | None = None,
    batch_size: int | None = None,
    **settings: Any,
) -> Workload:
    """A workload with the mean squared error as the loss; its metrics are `loss` and `mae`, the mean absolute error.

    Args:
        model: () -> nn.Module, or a module; its output has the targets' shape, or one trailing dimension of 1 more.
        optimizer: (params, lr=float) -> Optimizer.
        train: a torch `Dataset` of (input, target) pairs, a pair (inputs, targets) of arrays or tensors, or a DataLoader (or another
            iterable that can be walked through again) of (inputs, targets) batches.
        valid: in the form of `train`.
        test: in the form of `train`; read only to confirm a result.
        batch_size: examples a batch, >= 1. Default: 32; of a loader its own.
        **settings: every other argument of `Workload`, but for the loss and the data's factories: num_steps or num_epochs,
            eval_every, objective, device, ...; `metrics` replace those above.
    """
    return _supervised(
        _Loss(_squared_error),
        _Metrics(_regression_metrics, ("loss", "mae")),
        torch.float32,
        (train, valid, test),
        batch_size,
        model=model,
        optimizer=optimizer,
        **{"combine": "mean", **settings},
    )


@dataclass(frozen=True)
class _Loss:
    """A loss of (outputs, targets), as a workload wants it: of (model, batch)."""

    of_outputs: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    def __call__(self, model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, targets = batch
        return self.of_outputs(model(inputs), targets)


@dataclass(frozen=True)
class _Metrics:
    """Metrics of (outputs, targets), as a workload wants them, and their names."""

    of_outputs: Callable[[torch.Tensor, torch.Tensor], Mapping[str, torch.Tensor]]
    names: tuple[str, ...]

    def __call__(self, model: nn.Module, batch: Any) -> Mapping[str, torch.Tensor]:
        inputs, targets = batch
        return self.of_outputs(model(inputs), targets)


def _classification_metrics(outputs: torch.Tensor, targets: torch.Tensor) -> Mapping[str, torch.Tensor]:
    return {
        "loss": functional.cross_entropy(outputs, targets, reduction="none"),
        "accuracy": (outputs.argmax(1) == targets).float(),
    }


def _aligned(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in the targets' shape: (examples, 1) against (examples,) would broadcast to a square."""
    if outputs.shape != targets.shape:
        require(
            outputs.numel() == targets.numel(),
            "the model's output must have the targets' shape",
            outputs=tuple(outputs.shape),
            targets=tuple(targets.shape),
        )
        outputs = outputs.reshape(targets.shape)
    return outputs, targets


def _squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(*_aligned(outputs, targets))


def _regression_metrics(outputs: torch.Tensor, targets: torch.Tensor) -> Mapping[str, torch.Tensor]:
    outputs, targets = _aligned(outputs, targets)
    error = (outputs - targets).reshape(len(targets), -1)
    return {"loss": (error**2).mean(1), "mae": error.abs().mean(1)}


def _supervised(
    own_loss: _Loss,
    own_metrics: _Metrics,
    target_type: torch.dtype,
    data: tuple[Data, Data, Data | None],
    batch_size: int | None,
    **settings: Any,
) -> Workload:
    require(batch_size is None or batch_size >= 1, "batch_size must be at least 1", batch_size=batch_size)
    own = {*(each.name for each in fields(Workload)), "num_epochs"} - {"loss", "train_data", "valid_data", "test_data"}
    if "loss" in settings:
        raise InvalidInputError(
            f"classification() and regression() have a loss of their own, but got loss={quoted(settings['loss'])}. For another build an "
            "lr_search.Workload: loss=nn.CrossEntropyLoss(weight=...), train_data=loader, valid_data=loader."
        )
    if unknown := sorted(settings.keys() - own):
        raise unknown_name("setting", unknown[0], own | {"train", "valid", "test"})
    train, valid, test = data
    require(train is not None and valid is not None, "train and valid must be given", train=train, valid=valid)
    size = _batch_size(train, batch_size)
    at_once = max(size or USUAL_BATCH_SIZE, EVALUATED_AT_ONCE)
    if settings.get("metrics") is None:
        settings["metrics"] = own_metrics
    return Workload(
        loss=own_loss,
        train_data=_batches(train, target_type, size or USUAL_BATCH_SIZE, training=True),
        valid_data=_batches(valid, target_type, at_once),
        test_data=None if test is None else _batches(test, target_type, at_once),
        batch_size=size,
        **settings,
    )


def _batches(data: Data, target_type: torch.dtype, batch_size: int, *, training: bool = False) -> Any:
    """A loader as it is, a data set cut into batches."""
    return data if is_loader(data) else DatasetBatches(as_dataset(data, target_type), batch_size, training)


def _batch_size(train: Data, asked: int | None) -> int | None:
    """Examples a batch: as asked, or the loader's; None where that is not known.

    Raises:
        InvalidInputError: a loader has another than the one that was asked for.
    """
    if not is_loader(train):
        return asked or USUAL_BATCH_SIZE
    own = loader_batch_size(train)
    rule, remedy = (
        "batch_size must be that of the loader",
        "Leave it out, or give the loader's data set in place of the loader.",
    )
    require(asked is None or own in (None, asked), rule, remedy, batch_size=asked, loader=own)
    return asked or own


def as_dataset(data: Data, target_type: torch.dtype) -> Dataset[Any]:
    """A torch data set of what was given: a `Dataset` as it is, a pair (inputs, targets) as tensors.

    Raises:
        InvalidInputError: it is neither, or inputs and targets differ in length.
    """
    plain = isinstance(data, tuple | list | torch.Tensor | np.ndarray | Mapping | str | bytes | type)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not plain:
        return data  # type: ignore[no-any-return]
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise _no_data(f"{type(data).__name__}")
    try:
        inputs, targets = (
            part if isinstance(part, torch.Tensor) else torch.as_tensor(np.asarray(part)) for part in data
        )
    except (TypeError, ValueError, RuntimeError):
        raise _no_data(quoted(data)) from None
    if not inputs.shape or not targets.shape or targets.is_complex():
        raise _no_data(quoted(data))
    require(
        len(inputs) == len(targets), "inputs and targets must be equally long", inputs=len(inputs), targets=len(targets)
    )
    inputs = inputs.float() if inputs.dtype == torch.float64 else inputs
    return TensorDataset(inputs, targets.to(target_type))


def _no_data(came: str) -> InvalidInputError:
    return InvalidInputError(
        "Data must be a torch Dataset with a length, a loader of batches, or a pair (inputs, targets) of arrays or tensors, but got "
        f"{came}. "
        "For anything else build an lr_search.Workload."
    )


@dataclass(frozen=True)
class DatasetBatches:
    """A factory of batches: shuffled, and without a last short one, for training; in order and whole otherwise."""

    dataset: Dataset[Any]
    batch_size: int
    training: bool = False

    def __call__(self) -> Any:
        """A new iterable of batches; tensors in memory are cut directly, which a DataLoader does an example at a time."""
        # with a single full batch the short one is kept: one batch a pass is too few
        drop_last = self.training and len(self.dataset) >= 2 * self.batch_size  # type: ignore[arg-type]
        if type(self.dataset) is TensorDataset:
            return TensorBatches(self.dataset.tensors, self.batch_size, self.training, drop_last)
        return DataLoader(self.dataset, self.batch_size, shuffle=self.training, drop_last=drop_last)


@dataclass(frozen=True)
class TensorBatches:
    """Batches cut from tensors in memory, in the global RNG's order where shuffled."""

    tensors: tuple[torch.Tensor, ...]
    batch_size: int
    shuffle: bool
    drop_last: bool

    def __len__(self) -> int:
        examples = len(self.tensors[0])
        return examples // self.batch_size if self.drop_last else -(-examples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        examples = len(self.tensors[0])
        order = torch.randperm(examples) if self.shuffle else torch.arange(examples)
        for i in range(len(self)):
            chosen = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield tuple(tensor[chosen] for tensor in self.tensors)
