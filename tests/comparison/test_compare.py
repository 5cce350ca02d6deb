"""compare(): budgets, charges, common random numbers, failures, and what a second call does."""

import math
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import FingerprintError, InvalidInputError, TrialsFailedError, UnknownNameError
from tests.helpers.workloads import data, line, squared_error

TIMES = ["seconds", "started", "ended", "worker"]
KEYS = ["strategy", "schedule", "optimizer", "seed"]


def compared(**changes: object) -> lrs.Comparison:
    settings = {
        "budget": 4,
        "seeds": 2,
        "schedules": ["constant"],
        "range_test": {"num_steps": 40},
        "storage": None,
        "progress": False,
    }
    settings |= changes
    workload = settings.pop("workload", None) or line()
    return lrs.compare(workload, **settings)  # type: ignore[arg-type]


def charged(recorded: int) -> int:
    """What a ramp costs that recorded so many steps: whole blocks of 10, and a third for each forward pass beyond."""
    steps = 10 * math.ceil(recorded / 10)
    return steps + math.ceil((steps + 1) / 3)


def same_frames(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    pd.testing.assert_frame_equal(one.drop(columns=TIMES), other.drop(columns=TIMES), check_exact=True)
    return True


def test_without_a_pruner_a_study_runs_as_many_trainings_as_its_budget_pays_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    trials = compared(range_test={"num_steps": 50}, schedules=["constant", "sgdr"], storage=url).trials
    counts = trials.groupby(KEYS, observed=True).size()
    curves = lrs.load(url, "comparison").curves
    for (strategy, _, _, seed), count in counts.items():
        steps = charged(int((curves["seed"] == seed).sum())) if strategy == "range_test" else 0
        assert count == (4 * 30 - steps) // 30
    assert len(counts) == 3 * 2 * 2


def test_range_test_steps_are_charged_to_every_study_that_uses_them() -> None:
    comparison = compared(
        range_test={"num_steps": 40, "gain_ratio": True}, schedules=["constant", "sgdr"], seeds=1, lr_range=(1e-4, 0.5)
    )
    assert (len(comparison.curves)) == 40  # run once
    first = comparison.trials[comparison.trials["number"] == 0].set_index(["strategy", "schedule"])["steps_charged"]
    assert first["range_test", "constant"] == first["range_test", "sgdr"] == 40 + 14 + 30  # 41 forward passes
    assert first["grid", "constant"] == 30


def test_several_curves_are_charged_and_widen_nothing_else() -> None:
    comparison = compared(
        strategies=["range_test"], range_test={"num_steps": 20, "curves": 2}, seeds=1, lr_range=(1e-4, 0.5)
    )
    assert comparison.curves.groupby("curve", observed=True).size().tolist() == [20, 20]
    assert comparison.trials["steps_charged"].tolist() == [84, 114]  # 2 x (20 + 7) + 30
    first, second = (part["loss"].to_numpy() for _, part in comparison.curves.groupby("curve", observed=True))
    assert not np.array_equal(first, second)  # other weights and batches


def test_the_same_seed_gives_the_same_frame_on_any_storage(tmp_path: Path) -> None:
    assert same_frames(compared().trials, compared(storage=f"sqlite:///{tmp_path}/a.db").trials)


def test_another_seed_gives_other_trainings() -> None:
    one, other = (
        compared(seeds=[0], strategies={"mine": 0.1}).trials,
        compared(seeds=[1], strategies={"mine": 0.1}).trials,
    )
    assert one["objective"].item() != other["objective"].item()


def test_within_a_seed_every_trial_starts_from_the_same_weights_and_sees_the_same_batches() -> None:
    seen: list[list[float]] = []

    def recording(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        if model.training:
            seen[-1].append(float(batch.sum()))
        return squared_error(model, batch)

    def model() -> nn.Module:
        made = nn.Linear(1, 1)
        seen.append([made.weight.item(), made.bias.item()])
        return made

    compared(workload=line(model=model, loss=recording), seeds=1, strategies=["grid", "random"], lr_range=(1e-3, 0.1))
    trainings = [tuple(numbers) for numbers in seen if len(numbers) == 2 + 30]
    assert len(trainings) >= 8
    assert len(set(trainings)) == 1


def test_a_number_is_a_strategy_of_one_trial() -> None:
    trials = compared(strategies={"mine": 0.05, "far": 20.0}, lr_range=(1e-3, 1.0)).trials
    assert trials.groupby("strategy", observed=True)["lr"].unique().map(list).to_dict() == {
        "far": [20.0],
        "mine": [0.05],
    }
    assert len(trials) == 2 * 2


def test_any_optuna_sampler_is_a_strategy() -> None:
    trials = compared(
        strategies={"tpe": optuna.samplers.TPESampler, "mine": lambda seed: optuna.samplers.RandomSampler(seed=seed)}
    ).trials
    assert trials.groupby(["strategy", "seed"], observed=True)["lr"].nunique().tolist() == [4, 4, 4, 4]


def test_divergence_is_a_complete_trial_of_the_worst_value() -> None:
    comparison = compared(strategies={"wild": 1e20}, lr_range=(1e-3, 1.0), seeds=1)
    row = comparison.trials.iloc[0]
    assert (row["state"], row["outcome"], row["objective"]) == ("COMPLETE", "diverged", math.inf)
    assert row["steps"] < 30
    assert "non-finite" in row["reason"] or "became" in row["reason"]
    initial = comparison.evaluations.query("step == 0 and metric == 'loss'")["value"].item()
    assert comparison.summary(full=True)["best"].item() == initial  # clipped at the objective of step 0


def test_divergence_is_the_worst_value_when_maximizing_too() -> None:
    work = line(metrics=lambda m, b: {"score": -squared_error(m, b)}, objective="score", direction="maximize")
    trials = compared(workload=work, strategies={"wild": 1e20, "tame": 0.1}, seeds=1).trials.set_index("strategy")
    assert trials["objective"]["wild"] == -math.inf
    assert compared(workload=work, strategies={"wild": 1e20, "tame": 0.1}, seeds=1).recommend().lr == 0.1


def test_a_trials_value_is_its_objective_at_the_end_and_not_the_best_on_the_way() -> None:
    comparison = compared(seeds=1, strategies=["grid"], lr_range=(1e-3, 2.0))
    last = comparison.evaluations.query("metric == 'loss'").groupby("number", observed=True)["value"].last()
    finite = comparison.trials.set_index("number")["objective"]
    finite = finite[np.isfinite(finite)]
    assert finite.tolist() == last.loc[list(finite.index)].tolist()
    assert len(finite) == 4


def failing(when: int) -> lrs.Workload:
    calls = {"count": 0}

    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        calls["count"] += model.training
        if calls["count"] > when:
            raise RuntimeError("the disk is full")
        return squared_error(model, batch)

    return line(loss=loss)


def test_three_failures_in_a_row_stop_the_comparison_and_keep_their_tracebacks() -> None:
    storage = optuna.storages.InMemoryStorage()
    with pytest.raises(
        TrialsFailedError, match="3 trials in a row failed, the last with RuntimeError: the disk is full"
    ):
        compared(workload=failing(150), strategies=["grid", "random"], storage=storage)
    comparison = lrs.load(storage, "comparison")
    failed = comparison.trials[comparison.trials["state"] == "FAIL"]
    assert len(failed) == 3
    assert failed["steps"].sum() > 0  # charged
    errors = [t.outcome["error"] for study in comparison.records for t in study.trials if t.state == "FAIL"]
    assert all("Traceback" in error and "the disk is full" in error for error in errors)


def test_the_cost_is_said_before_the_first_step(caplog: pytest.LogCaptureFixture) -> None:
    compared(seeds=2, schedules=["constant", "sgdr"], strategies=["grid", "random"], progress=True)
    plan = caplog.messages[0]
    assert "8 studies (2 strategies x 2 schedules x 1 optimizer x 2 seeds)" in plan
    assert "32 trials and 960 steps" in plan


def test_a_dry_run_prints_the_cost_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compared(dry_run=True, storage=f"sqlite:///{tmp_path}/a.db", range_test={"num_steps": 60})
    # a seed: 60 + 61 / 3 steps of ramp once, 4 + 4 trainings, and (120 - 81) // 30 = 1
    assert "20 trials and 702 steps" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert len(comparison.trials) == 0


def test_a_second_call_trains_nothing_and_a_larger_budget_extends(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    first = compared(storage=url).trials
    again = compared(storage=url).trials
    pd.testing.assert_frame_equal(first, again)  # times too
    larger = compared(storage=url, budget=6).trials
    kept = larger.merge(first[[*KEYS, "number"]], on=[*KEYS, "number"])
    pd.testing.assert_frame_equal(kept, first)
    assert larger.groupby(["strategy", "seed"], observed=True).size()["grid"].tolist() == [6, 6]
    assert (
        larger.groupby(["strategy", "seed"], observed=True)["lr"]
        .nunique()
        .equals(larger.groupby(["strategy", "seed"], observed=True).size())
    )


def test_fresh_starts_over(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    first = compared(storage=url, strategies=["random"]).trials
    again = compared(storage=url, strategies=["random"], fresh=True).trials
    assert same_frames(first, again)
    assert (again["started"] > first["started"].max()).all()


def test_more_strategies_join_the_comparison(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    compared(storage=url, strategies=["grid"])
    both = compared(storage=url, strategies=["random"])
    assert set(both.trials["strategy"]) == {"grid", "random"}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"num_steps": 31}, "num_steps differ: 30 then, 31 now"),
        (
            {"model": lambda: nn.Linear(1, 1, bias=False)},
            "the model differs: 2 parameters of 2 numbers, 0 frozen then, 1 parameters of 1 numbers, 0 frozen now",
        ),
        (
            {"train_data": lambda: [torch.ones(4, 2), torch.zeros(4, 2)]},
            "the training data differ: 8 batches then, 2 batches now, and 2 of 2 batches",
        ),
        ({"loss": lambda m, b: 2 * squared_error(m, b)}, "the first loss differs: "),
        ({"optimizer": torch.optim.Adam}, "the optimizer differs: SGD then, Adam now"),
    ],
)
def test_another_workload_under_the_same_name_is_refused(tmp_path: Path, changes: dict[str, object], what: str) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    compared(storage=url, strategies=["random"], optimizers={"o": torch.optim.SGD})
    optimizer = changes.pop("optimizer", torch.optim.SGD)
    with pytest.raises(FingerprintError, match=r"--fresh") as error:
        compared(workload=line(**changes), storage=url, strategies=["random"], optimizers={"o": optimizer})
    assert what in str(error.value)


def test_other_settings_under_the_same_name_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    compared(storage=url, strategies={"mine": 0.1})
    with pytest.raises(FingerprintError, match=r"the strategy 'mine' differs: lr=0\.1 then, lr=0\.2 now"):
        compared(storage=url, strategies={"mine": 0.2})
    with pytest.raises(FingerprintError, match=r"lr_range differs: \(0\.0001, 10\) then, \(0\.0001, 1\) now"):
        compared(storage=url, strategies={"mine": 0.1}, lr_range=(1e-4, 1.0))


def test_optimizers_are_a_dimension_that_starts_from_the_same_weights() -> None:
    optimizers = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    comparison = compared(optimizers=optimizers, strategies={"mine": 0.01}, seeds=1)
    assert comparison.trials["optimizer"].tolist() == ["sgd", "adam"]
    starts = comparison.evaluations.query("step == 0 and metric == 'loss'")["value"]
    assert len(set(starts)) == 1
    assert len(comparison.summary(full=True)) == 2


def test_confirm_trains_the_best_two_again_on_fresh_seeds_and_on_test_data() -> None:
    comparison = compared(
        workload=line(test_data=lambda: data()[:3]), schedules=["constant", "triangular"], confirm=3, seeds=[0, 1]
    )
    again = comparison.confirmations
    assert len(again) == 2 * 3
    assert not set(again["seed"]) & {0, 1}
    best = comparison.recommend()
    assert best.confirmed
    assert best.on_test_data
    assert "judged on test_data" in best.reason
    mean = again.groupby(["schedule", "lr"], observed=True)["objective"].mean()
    assert best.value == pytest.approx(mean.min())
    assert mean.idxmin() == (best.schedule, best.lr)
    assert set(comparison.trials["strategy"]) == {"grid", "random", "range_test"}


def test_a_recommendation_without_confirm_says_so() -> None:
    best = compared(strategies=["grid"]).recommend()
    assert not best.confirmed
    assert "Unconfirmed" in best.reason


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"strategies": ["grdi"]}, UnknownNameError, "Did you mean 'grid'"),
        ({"schedules": ["sgd"]}, UnknownNameError, "Did you mean 'sgdr'"),
        (
            {"budget": 0.5},
            InvalidInputError,
            "budget must pay for one full training of 30 steps in 'grid', but got budget=0.5",
        ),
        (
            {"budget": 1, "strategies": ["range_test"]},
            InvalidInputError,
            "its range test and one full training .* Give at least 2.8",
        ),
        (
            {"budget": -1},
            InvalidInputError,
            "budget must be above 0 and at most 100,000 full trainings, but got budget=-1",
        ),
        ({"seeds": 0}, InvalidInputError, "seeds must be"),
        ({"seeds": [1, 1]}, InvalidInputError, "seeds must be"),
        ({"lr_range": (1.0, 0.1)}, InvalidInputError, "lr_range must be"),
        ({"range_test": {"steps": 3}}, InvalidInputError, "range_test may hold"),
        ({"range_test": {"num_steps": 3}}, InvalidInputError, "num_steps must be at least 20"),
        ({"strategies": []}, InvalidInputError, "strategies must name at least one"),
        ({"schedules": ["constant", "constant"]}, InvalidInputError, "schedules must differ"),
        ({"pruner": "median"}, InvalidInputError, "pruner must be an optuna.pruners.BasePruner, 'auto' or None"),
        ({"executor": "local"}, InvalidInputError, "executor must be"),
        (
            {"workload": "digits"},
            InvalidInputError,
            "workload must be an lr_search.Workload or an lr_search.Trainable, but got 'digits'",
        ),
        ({"workload": line(num_steps=4), "schedules": ["triangular"]}, InvalidInputError, "at least 6 steps"),
        ({"optimizers": {}}, InvalidInputError, "optimizers must be names, or map names"),
        ({"name": ""}, InvalidInputError, "name must be"),
        ({"confirm": -1}, InvalidInputError, "confirm must be"),
    ],
)
def test_bad_input_gets_a_message(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        compared(**changes)
