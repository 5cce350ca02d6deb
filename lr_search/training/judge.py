"""Judging models of a workload on its validation data, always under the same random numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from lr_search.errors import InvalidInputError, WorkloadError, quoted, user_code
from lr_search.kinds.printable_names import require_name
from lr_search.rng import preserved_rng, seed_everything
from lr_search.state.capture import preserved_modes
from lr_search.training.evaluation import evaluate, metric_sums
from lr_search.workloads.batches import open_data, preserved_generators, rewind
from lr_search.workloads.passes import ModelBatches
from lr_search.workloads.workload import Workload


class Judge:
    """Evaluates on the validation data, under a random state of its own that is the same at every evaluation.

    Args:
        workload: whose data and metrics.
        seed: of what a data set or model draws.
    """

    def __init__(self, workload: Workload, seed: int) -> None:
        self._workload, self._seed = workload, seed
        self._device = workload.torch_device
        source = workload.valid_data  # what is made of the model is made at each evaluation
        self._valid: Any = source if isinstance(source, ModelBatches) else open_data(source, "valid_data")

    @contextmanager
    def opened(self, model: nn.Module) -> Iterator[Iterable[Any]]:
        """A pass over the validation data, of that model where they are made of it; inside, what is drawn moves no other random state.

        Raises:
            InvalidInputError: the data were let go of.
        """
        if self._valid is None:
            raise InvalidInputError(
                "evaluate() needs the validation data, but the training was closed. Evaluate before."
            )
        with preserved_rng(self._device), preserved_generators(self._valid) as loader_generators:
            seed_everything(self._seed)
            rewind(loader_generators)
            if isinstance(self._valid, ModelBatches):
                yield open_data(self._valid, "valid_data", model)
                return
            if isinstance(self._valid, Iterator):  # a bare iterator lasts for one evaluation only
                self._valid = open_data(self._workload.valid_data, "valid_data")
            yield self._valid

    @user_code
    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Name -> each metric's mean over the examples; see `Training.evaluate`."""
        work = self._workload
        with self.opened(model) as batches:
            metrics = evaluate(model, batches, work.metrics_or_loss, self._device, work.precision)
        return require_objective(work, metrics)

    def require_sound(self, model: nn.Module, metrics: Mapping[str, float]) -> None:
        """Raise if the objective of a model that no step has moved is not finite; one that counted nothing may be nan.

        Args:
            model: the module.
            metrics: what it was judged to have.

        Raises:
            WorkloadError: it is not finite on a batch, whose number is told.
        """
        work, name = self._workload, self._workload.objective
        if math.isfinite(metrics[name]):
            return
        with self.opened(model) as batches, preserved_modes(model):
            model.eval()
            for number, batch in enumerate(batches, start=1):
                sums, _, _ = metric_sums(model, [batch], work.metrics_or_loss, self._device, work.precision)
                if name in sums and not sums[name].isfinite():
                    raise WorkloadError(
                        f"{name} must be finite before the first step, but is {float(sums[name])} on batch {number} of the "
                        "validation data, where no learning rate has acted yet. Look for labels that are all ignored "
                        "(ignore_index) and for values that are not finite, and leave such batches out."
                    )

    def close(self) -> None:
        """Let go of the data."""
        self._valid = None


def require_objective(workload: Workload, metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics, if the objective is among them.

    Raises:
        WorkloadError: it is not.
    """
    for name in metrics:
        require_name("a metric's name", name)
    if workload.objective not in metrics:
        raise WorkloadError(
            f"objective must be a metric that metrics(model, batch) reports, but got {quoted(workload.objective)}; "
            f"reported: {', '.join(sorted(metrics)) or 'none'}. Name one of these, or report it."
        )
    return dict(metrics)
