"""What of a model the callbacks need: its optimizer's LR and steps, the loss of a step, its state."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lr_search.errors import InvalidInputError, MissingPackageError, require
from lr_search.rng import preserved_rng


def require_keras_on_torch() -> None:
    """Import Keras.

    Raises:
        MissingPackageError: it is not installed, or the backend that it is set to is not.
        InvalidInputError: its backend is another one.
    """
    remedy = (
        'pip install "lr-search[keras]", and set the environment variable KERAS_BACKEND=torch before Keras is imported'
    )
    try:
        keras = importlib.import_module("keras")
    except ImportError as error:
        came = os.environ.get("KERAS_BACKEND", "the default, tensorflow")
        raise MissingPackageError(
            f"lr_search_keras needs Keras 3 on torch, but got the backend {came}: {remedy}."
        ) from error
    backend = keras.backend.backend()
    require(
        backend == "torch",
        "Keras's backend must be torch",
        f"Set KERAS_BACKEND=torch first: {remedy}.",
        backend=backend,
    )


def require_settable(optimizer: Any) -> None:
    """Raises: InvalidInputError: there is no optimizer, or its LR follows a schedule of Keras's own."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if optimizer is None or not hasattr(getattr(inner, "_learning_rate", None), "assign"):
        raise InvalidInputError(
            "The model's optimizer must have a number as its learning_rate, but got "
            f"{'no optimizer' if optimizer is None else type(getattr(inner, '_learning_rate', None)).__name__}. "
            "Compile the model with optimizer=keras.optimizers.SGD(0.1), say."
        )


def lr_of(optimizer: Any) -> float:
    """The LR that it has now."""
    return float(optimizer.learning_rate)


def iterations_of(optimizer: Any) -> int:
    """Optimizer steps so far: batches whose gradients were only accumulated, or overflowed in fp16, are none."""
    return int(optimizer.iterations)  # Keras waits for the device at every step as it is, for the LR


def accumulated(optimizer: Any) -> int:
    """Batches a step."""
    return getattr(optimizer, "inner_optimizer", optimizer).gradient_accumulation_steps or 1


def steps_of_batches(optimizer: Any, batches: int) -> int:
    """Optimizer steps that so many batches are, at least 1."""
    return max(1, batches // accumulated(optimizer))


def set_momentum_of(optimizer: Any, momentum: float) -> None:
    """Set its momentum, or the first beta; one that was built without is left without."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if hasattr(inner, "beta_1"):
        inner.beta_1 = momentum
    elif getattr(inner, "momentum", 0):
        inner.momentum = momentum


class StepLoss:
    """The loss of the batches since it was last asked, read off the model's running mean."""

    def __init__(self, model: Any) -> None:
        self._tracker = next((metric for metric in model.metrics if metric.name == "loss"), None)
        remedy = "Compile it with a loss, or keep a keras.metrics.Mean named loss in your train_step."
        require(
            self._tracker is not None,
            "the model must have a metric 'loss'",
            remedy,
            got=[m.name for m in model.metrics],
        )
        self.begin()

    def begin(self) -> None:
        """Note where the running mean is, such as at an epoch's begin."""
        self._total, self._count = self._read()

    def _read(self) -> tuple[float, float]:
        tracker: Any = self._tracker
        return float(tracker.total), float(tracker.count)

    def since(self) -> float:
        """The mean loss of the examples since."""
        before = self._total, self._count
        self.begin()
        return (self._total - before[0]) / (self._count - before[1])


@contextmanager
def preserved_model(model: Any) -> Iterator[None]:
    """Leaves weights, generators, the optimizer, the history and the global random states as they were."""
    variables = [*model.variables, *model.optimizer.variables]
    before = [variable.value.detach().clone() for variable in variables]
    history, stopping = model.history, model.stop_training
    with preserved_rng(before[0].device):
        try:
            yield
        finally:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            model.history, model.stop_training = history, stopping
