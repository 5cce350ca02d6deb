"""comparison.retrain(): a trial's weights, trained again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import lr_search as lrs
from lr_search.errors import InvalidInputError
from tests.helpers.workloads import line

SETTINGS: dict[str, Any] = {
    "strategies": ["grid", "random"], "schedules": ["constant", "sgdr"], "optimizers": ["sgd", "adamw"], "lr_range": (1e-2, 0.9),
    "budget": 2, "seeds": 2, "progress": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> lrs.Comparison:
    path = tmp_path_factory.mktemp("retrain") / "found.db"
    return lrs.compare(line(combine="mean"), storage=f"sqlite:///{path}", **SETTINGS)


def ended(training: lrs.Training) -> float:
    assert training.stopped == "finished"
    return training.evaluate()["loss"]


def test_any_trial_comes_out_in_the_same_bits(compared: lrs.Comparison) -> None:
    trials = compared.trials
    for optimizer, schedule, seed in (("sgd", "constant", 0), ("adamw", "sgdr", 1)):
        rows = trials[(trials["optimizer"] == optimizer) & (trials["schedule"] == schedule) & (trials["seed"] == seed)]
        row = rows[rows["state"] == "COMPLETE"].iloc[-1]
        assert ended(compared.retrain(row)) == row["objective"]


def test_without_a_trial_it_is_the_best_one(compared: lrs.Comparison) -> None:
    assert ended(compared.retrain()) == compared.trials["objective"].min()


def test_the_weights_predict_and_the_snapshots_are_those_that_were_judged(compared: lrs.Comparison) -> None:
    trials = compared.trials
    row = trials[trials["ensemble_objective"].notna()].iloc[0]
    training = compared.retrain(row)
    assert len(training.snapshots) == row["ensemble_members"]
    ensemble = lrs.SnapshotEnsemble(training.workload, training.snapshots)
    assert training.evaluate(ensemble)["loss"] == row["ensemble_objective"]
    best = compared.retrain()
    zero, one = (best.model(torch.full((1, 1), at)).item() for at in (0.0, 1.0))
    assert one - zero == pytest.approx(3.0, abs=0.3)  # the line's slope


def test_a_recommendation_is_trained_with_the_first_seed(compared: lrs.Comparison) -> None:
    best = compared.recommend()
    training = compared.retrain(best)
    schedule = lrs.schedules.by_name(best.schedule, best.lr, 30, 8.0)
    assert (training.seed, training.schedule(0), training.schedule(15)) == (0, schedule(0), schedule(15))


def test_another_executor_may_train_it(compared: lrs.Comparison) -> None:
    class Noting(lrs.LocalExecutor):
        seeds: list[int] = []  # noqa: RUF012

        def train(self, workload: lrs.Workload, spec: Any) -> lrs.Training:
            self.seeds.append(spec.seed)
            return super().train(workload, spec)

    row = compared.trials[compared.trials["seed"] == 1].iloc[0]
    compared.retrain(row, executor=Noting())
    assert Noting.seeds == [1]


@pytest.mark.parametrize("best", [3, "grid", {"strategy": "grid"}])
def test_what_is_no_trial_is_told(compared: lrs.Comparison, best: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"best must be a row of comparison.trials, a recommendation, or None"):
        compared.retrain(best)


def test_a_trial_of_another_comparison_is_told(compared: lrs.Comparison) -> None:
    row = compared.trials.iloc[0].copy()
    row["number"] = 99
    with pytest.raises(InvalidInputError, match=r"best must be a trial of this comparison, but got \{.*'number': 99\}"):
        compared.retrain(row)


def test_a_trial_that_was_not_asked_for_any_more_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/found.db"
    lrs.compare(line(), storage=url, **SETTINGS)
    again = lrs.compare(line(), storage=url, **{**SETTINGS, "schedules": ["constant"]})
    row = again.trials[again.trials["schedule"] == "sgdr"].iloc[0]
    with pytest.raises(InvalidInputError, match=r"'sgdr' with 'sgd' was not part of it. Call compare with that"):
        again.retrain(row)


def test_a_loaded_comparison_says_how(compared: lrs.Comparison) -> None:
    with pytest.raises(InvalidInputError, match=r"was loaded from its storage. Call compare\(...\) as before"):
        lrs.load(compared.storage, compared.name).retrain()


def test_an_executor_that_cannot_train_is_told(compared: lrs.Comparison) -> None:
    with pytest.raises(InvalidInputError, match=r"executor must be an Executor or None"):
        compared.retrain(executor=object())


def test_without_a_trial_that_ended_well_there_is_none(tmp_path: Path) -> None:
    found = lrs.compare(
        line(), storage=None, **{**SETTINGS, "lr_range": (1e6, 1e7), "schedules": ["constant"], "optimizers": ["sgd"]}
    )
    with pytest.raises(
        InvalidInputError, match=r"There must be a trial that ended well.*Every complete trial diverged"
    ):
        found.retrain()
