"""Prodigy and Schedule-Free in a comparison: their authors' rules."""

import itertools
import math

import optuna
import prodigyopt
import pytest
import torch

import lr_search as lrs
from lr_search.schedules.cosine import Cosine
from tests.helpers.schedule_free import free, seeded
from tests.helpers.workloads import data, line, squared_error

pytestmark = pytest.mark.usefixtures("quick_pictures")


@pytest.fixture(scope="module")
def everything():
    """Six optimizers, three strategies, two schedules and one seed, run once. Returns: the call, which changes may be given to."""
    kept = optuna.storages.InMemoryStorage()

    def call(**changes):
        settings = {
            "strategies": ["random", "range_test", "defaults"],
            "schedules": ["triangular2", "cosine"],
            "optimizers": ["sgd", "adam", "rmsprop", "adagrad", "prodigy", "schedule_free"],
            "lr_range": (1e-3, 0.5), "range_test": {"num_steps": 20}, "budget": 2, "seeds": 1, "storage": kept,
            "snapshots": 0, "progress": False,
        }  # fmt: skip
        return lrs.compare(line(), **(settings | changes))

    call()
    return call


def rows(trials, optimizer):
    mine = trials[trials["optimizer"] == optimizer]
    return mine.groupby(["strategy", "schedule"], observed=True).size().to_dict()


def test_each_optimizer_is_run_by_its_own_rules(everything):
    trials = everything().trials
    # budget 2: random 2 trainings, range_test 2 - ceil(27 / 30) = 1, defaults 1
    counts = {"random": 2, "range_test": 1, "defaults": 1}
    for name in ("sgd", "adam", "rmsprop", "adagrad"):
        expected = {(s, e): n for s, n in counts.items() for e in ("triangular2", "cosine")}
        assert rows(trials, name) == expected
    assert rows(trials, "schedule_free") == {(s, "constant"): n for s, n in counts.items()}
    assert rows(trials, "prodigy") == {("defaults", "cosine"): 1}
    assert set(trials.query("optimizer == 'prodigy'")["lr"]) == {1.0}
    assert set(trials.query("optimizer == 'schedule_free' and strategy == 'defaults'")["lr"]) == {0.0025}
    assert trials.query("optimizer == 'schedule_free' and strategy == 'random'")["lr"].nunique() == 2
    assert not set(trials["outcome"]) - {"finished", "diverged"}


def test_range_tests_are_run_only_where_they_are_needed(everything):
    comparison = everything()
    assert set(comparison.curves["optimizer"]) == {"sgd", "adam", "rmsprop", "adagrad", "schedule_free"}
    assert comparison.curves.groupby(["optimizer", "seed"], observed=True)["curve"].nunique().tolist() == [1] * 5
    only = everything(optimizers=["prodigy"], strategies=["range_test", "probe"], storage=None)
    assert len(only.curves) == 0
    assert [record.kind for record in only.records] == ["search"]


def test_no_study_spends_more_than_its_budget(everything):
    trials = everything().trials
    spent = trials.groupby(["optimizer", "strategy"], observed=True)["steps_charged"].max().to_dict()
    assert max(spent.values()) <= 2 * 30
    assert spent["prodigy", "defaults"] == spent["schedule_free", "defaults"] == 30
    assert spent["schedule_free", "range_test"] == 30 + 20 + math.ceil(21 / 3)


def test_the_plan_says_what_will_be_run_and_counts_it_right(everything, capsys, caplog):
    everything(storage=None, dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    # studies: 4 optimizers x 3 x 2, Schedule-Free 3, Prodigy 1
    assert lines[0].startswith(
        "comparison: 28 studies (3 strategies x 2 schedules x 6 optimizers x 1 seed, "
        "where the optimizers' own rules allow), budget 2 full trainings"
    )
    assert lines[1] == (
        "prodigy finds its learning rate itself: one training a study (defaults), with lr=1, "
        "and is trained under cosine, as its authors want it"
    )
    assert lines[2] == "schedule_free is trained under constant, as its authors want it"
    # trainings: (2 + 1 + 1) x (4 x 2 + 1) + 1, and 5 range tests of 27 steps
    trainings = 4 * 9 + 1
    assert lines[3].startswith(f"at most {trainings + 5} trials and {30 * trainings + 5 * 27:,} steps in all: about ")
    everything(progress=True)
    assert caplog.messages[-1].splitlines()[-1] == "nothing is left to train"


def test_the_report_has_its_rows(everything, tmp_path):
    names = ["prodigy", "schedule_free"]
    comparison = everything(optimizers=names, strategies=["range_test"], seeds=1, storage=None)
    summary = comparison.summary(full=True).set_index(["optimizer", "strategy", "schedule"])
    assert len(summary) == 2
    assert summary.loc[("prodigy", "defaults", "cosine"), "best_lr"] == 1.0
    comparison.save(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert all(name in page for name in names)


def test_where_no_schedule_is_allowed_constant_is_taken():
    settings = {"schedules": ["sgdr"], "strategies": {"mine": 0.1}, "budget": 1, "seeds": 1, "storage": None}
    trials = lrs.compare(line(), optimizers=["sgd", "prodigy", "schedule_free_sgd"], **settings).trials
    found = trials[["optimizer", "strategy", "schedule"]].to_numpy().tolist()
    expected = [["sgd", "mine", "sgdr"], ["prodigy", "defaults", "constant"], ["schedule_free_sgd", "mine", "constant"]]
    assert found == expected


def test_a_schedule_is_known_by_what_it_is_not_by_its_name():
    schedules = {"mine": lambda lr: Cosine(lr, 30), "restarts": "sgdr", "flat": "constant"}
    settings = {"schedules": schedules, "strategies": {"m": 0.1}, "budget": 1, "seeds": 1, "storage": None}
    trials = lrs.compare(line(), optimizers=["prodigy", "schedule_free"], **settings).trials
    found = trials[["optimizer", "schedule"]].to_numpy().tolist()
    assert found == [["prodigy", "mine"], ["prodigy", "flat"], ["schedule_free", "flat"]]


class Mine(prodigyopt.Prodigy):
    pass


class Foreign(torch.optim.SGD):
    pass


@pytest.mark.parametrize("factory", [Mine, lambda params, lr: prodigyopt.Prodigy(params, lr=lr, d_coef=0.5)])
def test_the_rules_hold_for_the_users_own_factories(factory):
    settings = {"schedules": ["sgdr"], "strategies": ["random"], "budget": 2, "seeds": 1, "storage": None}
    trials = lrs.compare(line(), optimizers={"o": factory}, **settings).trials
    assert trials[["strategy", "schedule", "lr"]].to_numpy().tolist() == [["defaults", "constant", 1.0]]


def test_the_users_own_rules(monkeypatch):
    rules = lrs.optimizers.Rules(schedules=("cosine",))
    monkeypatch.setitem(lrs.optimizers.RULES, f"{Foreign.__module__}.Foreign", rules)
    assert lrs.optimizers.rules_of(Foreign) == rules
    assert lrs.optimizers.rules_of(torch.optim.SGD) == lrs.optimizers.Rules()
    settings = {"strategies": {"m": 0.1}, "budget": 1, "seeds": 1, "storage": None}
    trials = lrs.compare(line(optimizer=Foreign), schedules=["cosine", "sgdr"], **settings).trials
    assert trials["schedule"].tolist() == ["cosine"]


def test_a_renamed_defaults_is_the_one_row_of_prodigy():
    settings = {"strategies": {"m": 0.1, "promise": "defaults"}, "budget": 1, "seeds": 1, "storage": None}
    trials = lrs.compare(line(), schedules=["constant"], optimizers=["prodigy"], **settings).trials
    assert trials["strategy"].tolist() == ["promise"]


def test_a_budget_that_only_prodigy_can_live_on():
    settings = {"strategies": ["range_test"], "schedules": ["constant"], "budget": 1, "seeds": 1, "storage": None}
    assert len(lrs.compare(line(), optimizers=["prodigy"], **settings).trials) == 1
    with pytest.raises(lrs.errors.InvalidInputError, match="its range test and one full training"):
        lrs.compare(line(), optimizers=["prodigy", "sgd"], **settings)


def test_a_winner_that_was_not_searched_is_confirmed():
    comparison = lrs.compare(
        line(), optimizers=["sgd", "prodigy"], strategies={"mine": 1e-5}, schedules=["cosine"], budget=1, seeds=1,
        storage=None, confirm=2,
    )  # fmt: skip
    best = comparison.recommend()
    assert (best.optimizer, best.schedule, best.lr, best.confirmed) == ("prodigy", "cosine", 1.0, True)
    again = comparison.confirmations.query("optimizer == 'prodigy'")
    training = lrs.train(line(optimizer=prodigyopt.Prodigy), Cosine(1.0, 30), seed=int(again["seed"].iloc[0]))
    assert list(training)[-1].metrics["loss"] == again["objective"].iloc[0]


def test_prodigy_trains_as_in_a_plain_loop_with_torchs_cosine():
    training = lrs.train(free(optimizer=prodigyopt.Prodigy), lrs.schedules.by_name("cosine", 1.0, 30))
    list(training)
    model = seeded()
    optimizer = prodigyopt.Prodigy(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
    for batch in itertools.islice(itertools.cycle(data()), 30):
        optimizer.zero_grad()
        squared_error(model, batch).backward()
        optimizer.step()
        scheduler.step()
    for one, other in zip(training.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
