"""tune_objective: a workload in a Tuner of one's own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from lr_search_ray import schedule_space, search_space, tune_objective
from lr_search_ray.cluster.driver_path import driver_path
from lr_search_ray.cluster.packing import packed
from lr_search_ray.tune.tune_objective import ObjectiveTrainable
from tests.helpers.workloads import line

pytestmark = pytest.mark.ray

RATES = (0.003, 0.02, 0.1, 0.4)


def fitted(trainable: Any, path: Path, space: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    """Run a Tuner, on one worker, which takes seconds to start. Returns: the last result of each trial."""
    tuner = tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", **{"reuse_actors": True, "max_concurrent_trials": 1, **settings}
        ),
        run_config=tune.RunConfig(storage_path=str(path), verbose=0),
    )
    return [result.metrics or {} for result in tuner.fit()]


def trained(lr: float, schedule: str = "constant", **changes: Any) -> list[lrs.Evaluation]:
    """The same here."""
    work = line(**changes)
    return list(lrs.train(work, lrs.schedules.by_name(schedule, lr, work.num_steps, work.steps_per_epoch), seed=3))


def test_a_trial_gives_the_value_of_a_training_here_to_the_bit(shared_ray: None, tmp_path: Path) -> None:
    space = {"lr": tune.grid_search(list(RATES[1:3])), "schedule": tune.grid_search(["constant", "sgdr"])}
    results = fitted(tune_objective(line(num_steps=60), seed=3), tmp_path, space)
    assert len(results) == 4
    for result in results:
        config = result["config"]
        last = trained(config["lr"], config["schedule"], num_steps=60)[-1]
        assert (result["step"], result["loss"], result["train_loss"], result["schedule_lr"]) == (
            60, last.metrics["loss"], last.train_loss, last.lr,
        )  # fmt: skip
        assert (result["ended"], result["steps_charged"]) == ("finished", 60)


def test_asha_stops_trials_by_steps(shared_ray: None, tmp_path: Path) -> None:
    # the worst last: ASHA cuts those that are behind what came before
    space = {"lr": tune.grid_search(list(reversed(RATES)))}
    asha = ASHAScheduler(time_attr="step", max_t=90, grace_period=10, reduction_factor=2)
    results = fitted(tune_objective(line(num_steps=90), seed=3), tmp_path, space, scheduler=asha)
    steps = {result["config"]["lr"]: result["step"] for result in results}
    assert steps[0.4] == 90
    assert steps[0.003] < 90
    for result in results:
        evaluations = {each.step: each for each in trained(result["config"]["lr"], num_steps=90)}
        assert result["loss"] == evaluations[result["step"]].metrics["loss"]


def test_the_spaces_of_a_prior_and_of_schedules_fit(shared_ray: None, tmp_path: Path) -> None:
    prior = lrs.LRPrior.around(0.05, factor=2)
    space = {**search_space(prior), **schedule_space(["constant", "triangular2"], 60, steps_per_epoch=8)}
    results = fitted(tune_objective(line(num_steps=60)), tmp_path, space, num_samples=4)
    assert len(results) == 4
    for result in results:
        assert prior.low <= result["config"]["lr"] <= prior.high
        assert result["step"] == 60
        assert math.isfinite(result["loss"])


def test_a_training_that_diverges_ends_with_the_worst_there_is(shared_ray: None, tmp_path: Path) -> None:
    (result,) = fitted(tune_objective(line(num_steps=600, eval_every=600)), tmp_path, {"lr": 1e4})
    assert (result["loss"], result["ended"]) == (math.inf, "diverged")
    assert result["step"] < 600


class Direct(ObjectiveTrainable):
    """Without an actor."""

    def __init__(self, config: dict[str, Any], workload: lrs.Workload, **settings: Any) -> None:
        self.config = config
        self.setup(
            config, packed=packed({"workload": workload}, checked=False), place=driver_path(), seed=3, **settings
        )


def test_it_goes_on_from_a_checkpoint_in_the_same_bits(tmp_path: Path) -> None:
    work = line(num_steps=60)
    whole = Direct({"lr": 0.1}, work, checkpoint_every=7)
    results = [whole.step() for _ in range(13)]
    steps = [result["step"] for result in results]
    assert steps == [0, 7, 10, 14, 20, 21, 28, 30, 35, 40, 42, 49, 50]
    assert [r["step"] for r in results if r.get("should_checkpoint")] == [7, 14, 21, 28, 35, 42, 49]
    part = Direct({"lr": 0.1}, work, checkpoint_every=7)
    for _ in range(4):
        part.step()
    part.save_checkpoint(str(tmp_path))
    part.cleanup()
    other = Direct({"lr": 0.1}, work, checkpoint_every=7)
    other.load_checkpoint(str(tmp_path))
    later = [other.step() for _ in range(9)]
    assert [r["step"] for r in later] == steps[4:]
    assert [r["loss"] for r in later] == [r["loss"] for r in results[4:]]


def test_checkpoints_are_made_at_evaluations_where_the_last_is_long_ago() -> None:
    often, never = (
        Direct({"lr": 0.1, "schedule": "sgdr"}, line(num_steps=120), checkpoint_seconds=seconds)
        for seconds in (0.0, 1e9)
    )
    made = [often.step() for _ in range(4)]
    ends = [each.step for each in trained(0.1, "sgdr", num_steps=120)][:4]
    assert [result["step"] for result in made] == ends
    assert ["should_checkpoint" in result for result in made] == [False, True, True, True]
    assert not any("should_checkpoint" in never.step() for _ in range(4))


def test_wrong_use_is_told() -> None:
    with pytest.raises(WorkloadError, match=r"workload must be an lr_search\.Workload, but got 3"):
        tune_objective(3)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="checkpoint_every must be at least 1, but got 0"):
        tune_objective(line(), checkpoint_every=0)
    with pytest.raises(InvalidInputError, match=r"The config must hold an lr, but got \['rate'\]"):
        Direct({"rate": 0.1}, line())


def test_an_exception_of_the_user_s_is_an_error_of_the_trial() -> None:
    def broken(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        raise KeyError("label")

    trainable = Direct({"lr": 0.1}, line(loss=broken))
    with pytest.raises(RuntimeError, match=r"The training failed: KeyError: 'label'"):
        trainable.step()
