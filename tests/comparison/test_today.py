"""today=: what is trained with now, beside the searches: trained once a seed, charged apart, and told against."""

import math
from typing import Any

import pytest
import torch
from optuna.storages import InMemoryStorage

import lr_search as lrs
from lr_search.comparison.plans import FRESH
from lr_search.errors import FingerprintError, InvalidInputError, UnknownNameError
from tests.helpers.workloads import data, line

LR = 0.01


@pytest.fixture
def storage() -> InMemoryStorage:
    return InMemoryStorage()


def compared(storage: InMemoryStorage | None, workload: lrs.Workload | None = None, **changes: Any) -> lrs.Comparison:
    settings: dict[str, Any] = {
        "strategies": ["grid"],
        "schedules": ["constant", "triangular2"],
        "lr_range": (1e-3, 0.3),
        "budget": 2,
        "seeds": 2,
        "storage": storage,
        "name": "a",
        "progress": False,
    }
    return lrs.compare(workload or line(), **settings | changes)


def objective(schedule: lrs.schedules.Schedule, seed: int, workload: lrs.Workload | None = None) -> float:
    """What a training of its own ends at."""
    return list(lrs.train(workload or line(), schedule, seed=seed))[-1].metrics["loss"]


def trained(comparison: lrs.Comparison, kind: str = "today") -> dict[tuple[str, int], float]:
    """The trainings of that kind with what is used today: by schedule and seed, the objective."""
    rows = comparison.all_trials.query("kind == @kind and strategy == 'today'")
    return {(row.schedule, row.seed): row.objective for row in rows.itertuples()}


def test_it_is_trained_once_a_seed_under_the_first_schedule_and_charged_to_no_search(storage: InMemoryStorage) -> None:
    found, without = compared(storage, today=LR), compared(None)
    expected = {("constant", seed): objective(lrs.schedules.Constant(LR), seed) for seed in (0, 1)}
    assert trained(found) == {place: pytest.approx(value, rel=1e-6) for place, value in expected.items()}
    told = found.recommend().against_today
    assert told is not None
    assert (told.lr, told.schedule, told.optimizer) == (LR, "constant", "SGD")
    assert told.value == pytest.approx(sum(expected.values()) / 2)
    assert (told.trials, told.steps) == (len(without.trials), without.trials["steps"].sum())
    columns = ["strategy", "schedule", "seed", "number", "lr", "objective", "steps_charged"]
    assert found.trials[columns].equals(without.trials[columns])
    assert found.summary(full=True)["steps"].tolist() == without.summary(full=True)["steps"].tolist()


def test_under_a_schedule_that_is_not_compared(storage: InMemoryStorage) -> None:
    found = compared(storage, today={"lr": LR, "schedule": "cosine"})
    cosine = lrs.schedules.by_name("cosine", lr=LR, num_steps=line().num_steps)
    assert trained(found)["cosine", 1] == pytest.approx(objective(cosine, 1), rel=1e-6)
    assert set(found.trials["schedule"]) == {"constant", "triangular2"}
    assert "today's 0.01 under cosine gives" in str(found)


def test_under_a_schedule_of_ones_own_and_with_the_optimizer_that_is_named(storage: InMemoryStorage) -> None:
    found = compared(
        storage,
        schedules={"halved": lambda lr: lrs.schedules.Constant(lr / 2), "constant": "constant"},
        optimizers={"adam": torch.optim.Adam, "sgd": torch.optim.SGD},
        today={"lr": LR, "schedule": "halved", "optimizer": "sgd"},
    )
    assert trained(found)["halved", 0] == pytest.approx(objective(lrs.schedules.Constant(LR / 2), 0), rel=1e-6)
    assert found.recommend().against_today.optimizer == "sgd"  # type: ignore[union-attr]


def test_it_joins_later_is_kept_and_is_read_from_the_storage_alone(storage: InMemoryStorage) -> None:
    before = compared(storage)
    started = before.trials["started"].tolist()
    assert before.recommend().against_today is None
    after = compared(storage, today=LR)
    assert after.trials["started"].tolist() == started
    every, told = after.all_trials["started"].tolist(), after.recommend().against_today
    assert told is not None
    again = compared(storage, today=LR)
    assert again.all_trials["started"].tolist() == every
    left_out = compared(storage)
    assert left_out.recommend().against_today == told
    assert lrs.load(storage, "a").recommend().against_today == told


def test_what_ended_before_its_training_goes_on_with_it(
    storage: InMemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("lr_search.executors.local.LocalExecutor.run", lambda *_: None)
        compared(storage, today=LR)
    assert trained(compared(storage, today=LR)).keys() == {("constant", 0), ("constant", 1)}


@pytest.mark.parametrize(
    ("today", "words"),
    [
        (2 * LR, "today's lr differs: 0.01 then, 0.02 now"),
        ({"lr": LR, "schedule": "cosine"}, "today's schedule differs: constant then, cosine now"),
    ],
    ids=["lr", "schedule"],
)
def test_another_one_than_the_name_began_with_is_refused(storage: InMemoryStorage, today: Any, words: str) -> None:
    compared(storage, seeds=1, today=LR)
    with pytest.raises(FingerprintError, match=f"but of 'a' {words}. Give it another name"):
        compared(storage, seeds=1, today=today)


def test_confirm_trains_it_on_the_fresh_seeds_and_on_the_test_data(storage: InMemoryStorage) -> None:
    work = line(test_data=lambda: data()[:2])
    found = compared(storage, work, confirm=2, today=LR, seeds=1)
    on_test = line(valid_data=work.test_data)
    expected = {("constant", s): objective(lrs.schedules.Constant(LR), s, on_test) for s in (FRESH, FRESH + 1)}
    assert trained(found, "confirm") == {place: pytest.approx(value, rel=1e-6) for place, value in expected.items()}
    told = found.recommend().against_today
    assert told is not None
    assert told.confirmed
    assert told.value == pytest.approx(sum(expected.values()) / 2)


def test_where_it_joins_after_confirm_only_todays_is_trained_on_the_fresh_seeds(
    storage: InMemoryStorage, caplog: pytest.LogCaptureFixture
) -> None:
    before = compared(storage, confirm=1, seeds=1).confirmations["started"].tolist()
    after = compared(storage, confirm=1, seeds=1, today=LR, progress=True)
    steps = line().num_steps  # once beside the searches, once on the fresh seed
    assert f"at most 1 trial more and {steps} steps in all, and {steps} steps to confirm" in caplog.messages[0]
    caplog.clear()
    compared(storage, confirm=1, seeds=1, today=LR, progress=True)
    assert caplog.messages[0].splitlines()[-1] == "nothing is left to train"
    assert after.confirmations.query("strategy != 'today'")["started"].tolist() == before
    assert trained(after, "confirm").keys() == {("constant", FRESH)}


def test_it_is_in_the_plan_and_its_cost(capsys: pytest.CaptureFixture[str]) -> None:
    compared(None, today={"lr": LR, "schedule": "cosine"}, confirm=2, dry_run=True)
    lines, steps = capsys.readouterr().out.splitlines(), line().num_steps
    assert lines[1] == "beside it today's 0.01 under cosine with SGD: one training a seed"
    trials = 2 * 2 * 2 + 2  # studies' budget x schedules x seeds, and today's once a seed
    confirming = (2 + 1) * 2  # the best two and today's, on two fresh seeds
    assert lines[2].startswith(
        f"at most {trials} trials and {trials * steps} steps in all, and {confirming * steps} steps to confirm"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"today": 0}, "today's lr must be positive and finite, but got lr=0.0. For example: today=3e-4"),
        ({"today": -1e-3}, "today's lr must be positive and finite"),
        ({"today": math.inf}, "today's lr must be positive and finite"),
        ({"today": math.nan}, "today must be a number, a mapping of texts or None, but got nan"),
        ({"today": "3e-4"}, "today must be a number, a mapping of texts or None, but got '3e-4'"),
        (
            {"today": (LR, "cosine")},
            r"but got \(0.01, 'cosine'\)\. For example: today=3e-4, or today={\"lr\": 3e-4, \"sched",
        ),
        ({"today": {"lr": "3e-4"}}, "today's lr must be a number, but got '3e-4'"),
        ({"today": {"schedule": "cosine"}}, "today must hold the lr that you train with now"),
        ({"today": {"lr": LR, "momentum": 0.9}}, r"today may hold lr, schedule, optimizer, but got \['momentum'\]"),
        ({"today": {"lr": LR, "schedule": 3}}, "today's schedule must be a text, but got 3"),
        ({"today": LR, "strategies": ["grid", "today"]}, "strategy must be one that exists"),
        ({"today": LR, "strategies": {"today": 0.1}}, "no strategy may be called 'today' beside today="),
    ],
)
def test_what_it_cannot_be_is_told_before_anything_is_trained(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        compared(None, **changes)


def test_unknown_names_are_told_with_those_that_are_near() -> None:
    with pytest.raises(UnknownNameError, match=r"but got 'cosin'\. Did you mean 'cosine'"):
        compared(None, today={"lr": LR, "schedule": "cosin"})
    with pytest.raises(
        UnknownNameError, match=r"optimizer of today must be one that exists, but got 'adam'\. Known: SGD"
    ):
        compared(None, today={"lr": LR, "optimizer": "adam"})
