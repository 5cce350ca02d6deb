"""A workload as a trainable, for a user's own Tuner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ray import tune

from lr_search.errors import InvalidInputError, require
from lr_search.executors.trial_run import SoloRun
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.studies.trial import TrialSpec
from lr_search.training.evaluation import Evaluation
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload
from lr_search_ray.cluster.driver_path import DriverPath, driver_path
from lr_search_ray.cluster.packing import packed, unpacked
from lr_search_ray.tune.spaces import schedule_of
from lr_search_ray.tune.trial_trainable import TrialTrainable


class ObjectiveTrainable(TrialTrainable):
    """Trains the workload under the LR and schedule of the config."""

    def setup(self, config: dict[str, Any], *, packed: bytes, place: DriverPath, seed: int, **settings: Any) -> None:  # type: ignore[override]
        """Unpacks the workload once an actor."""
        place.enter()
        (workload,) = unpacked(packed).values()
        assert isinstance(workload, Workload)
        self._workload = workload
        self._seed = seed
        super().setup(config, **settings)

    def _trial(self, config: Mapping[str, Any]) -> tuple[Subject, TrialSpec]:
        work = self._workload
        if "lr" not in config:
            raise InvalidInputError(
                f"The config must hold an lr, but got {sorted(config)}. Use param_space=search_space(prior)."
            )
        schedule = schedule_of(config, work.num_steps, steps_per_epoch=work.steps_per_epoch, lr=float(config["lr"]))
        self._last: Evaluation | None = None
        return work, TrialSpec(self._seed, schedule=schedule)

    def _result(self, run: SoloRun, evaluation: Evaluation | None) -> dict[str, Any]:
        work, outcome = self._workload, run.outcome
        if outcome.ended == "failed":
            raise RuntimeError(f"The training failed: {outcome.reason}\n{outcome.error}")
        self._last = evaluation or self._last
        last = self._last
        assert last is not None
        metrics = {**{name: float(value) for name, value in last.metrics.items()}, "steps_charged": outcome.steps}
        if outcome.ended == "diverged":
            metrics[work.objective] = math.inf if work.direction == "minimize" else -math.inf
        return {**metrics, "train_loss": last.train_loss, "schedule_lr": last.lr, "ended": outcome.ended}


@checked
def tune_objective(
    workload: Workload, *, seed: Seed = 0, checkpoint_every: int | None = None, checkpoint_seconds: float = 30.0
) -> type[tune.Trainable]:
    """The workload as a trainable for `tune.Tuner`, under any of Tune's searchers and schedulers.

    A config holds `lr`, and may hold `schedule` and its options, as `search_space` and `schedule_space` propose them. A result is an
    evaluation: every metric, `train_loss`, `schedule_lr`, `step` (for a scheduler's time_attr; cyclic schedules are evaluated at their
    cycles' ends), `steps_charged`, `seconds`. All trials start from the same weights and see the same batches. A training that
    diverges ends with the worst objective there is. Trials go on from their checkpoints, also under schedulers that pause them.

    Args:
        workload: what is trained.
        seed: of the weights and the batches.
        checkpoint_every: steps between checkpoints, >= 1; None: at evaluations, where the last is `checkpoint_seconds` ago.
        checkpoint_seconds: between checkpoints at evaluations, at least; where `checkpoint_every` is None.

    Raises:
        WorkloadError: `workload` is no workload, or cannot be pickled.

    >>> batches = [[0.0], [1.0]]
    >>> from lr_search.workloads.workload import Workload
    >>> import torch
    >>> workload = Workload(
    ...     model=lambda: torch.nn.Linear(1, 1),
    ...     optimizer=torch.optim.SGD,
    ...     loss=lambda model, batch: model(torch.tensor([batch])).square().mean(),
    ...     train_data=lambda: batches,
    ...     valid_data=lambda: batches,
    ...     num_steps=20,
    ... )
    >>> trainable = tune_objective(workload)  # tune.Tuner(trainable, param_space=search_space(prior)).fit()
    """
    require(
        checkpoint_every is None or checkpoint_every >= 1, "checkpoint_every must be at least 1", got=checkpoint_every
    )
    trainable: type[tune.Trainable] = tune.with_parameters(
        ObjectiveTrainable,
        packed=packed({"workload": workload}, checked=False),
        place=driver_path(),
        seed=seed,
        checkpoint_every=checkpoint_every,
        checkpoint_seconds=checkpoint_seconds,
    )
    return trainable
