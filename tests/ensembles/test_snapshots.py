"""The weights that a training keeps, and the ensembles of them that a comparison judges at no further step."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.report.markdown import summary_markdown
from lr_search.report.page import save_report
from lr_search.results.findings import Findings
from lr_search.results.summary import summary_frame
from lr_search.results.tables import trials_frame
from tests.helpers.study_records import study

pytestmark = pytest.mark.usefixtures("quick_pictures")

SGDR = lrs.schedules.SGDR
TIMES = ["seconds", "started", "ended", "worker"]
ENSEMBLE = ["ensemble_objective", "ensemble_members"]


# ---- what a training keeps ----


@pytest.mark.parametrize(
    ("schedule", "count", "steps"),
    [
        (SGDR(0.0, 0.1, T_0=4), 3, [12, 16, 20]),
        (SGDR(0.0, 0.1, T_0=6), 9, [6, 12, 18]),  # the end of the training is not a cycle's
        (SGDR(0.0, 0.1, T_0=20), 3, [20]),
        (lrs.schedules.Constant(0.1), 3, [10, 15, 20]),  # at its evaluations
        (lrs.schedules.Constant(0.1), 9, [5, 10, 15, 20]),  # but for the weights at the start
        (lrs.schedules.Constant(0.1), 0, []),
    ],
)
def test_the_last_cycle_ends_are_kept_or_evaluations_where_there_are_no_cycles(make_workload, schedule, count, steps):
    training = lrs.train(make_workload(), schedule, seed=4, snapshots=count)
    list(training)
    assert [(kept.step, kept.seed) for kept in training.snapshots] == [(step, 4) for step in steps]


def test_what_is_kept_is_a_copy_of_the_weights_as_they_were(make_workload, constant, weights, same_bits):
    training, seen = lrs.train(make_workload(), constant(), snapshots=9), {}
    for evaluation in training:
        seen[evaluation.step] = weights(training.model)
    for kept in training.snapshots:
        assert same_bits({name: kept.weights[name] for name in seen[kept.step]}, seen[kept.step])


def test_a_state_that_is_not_a_tensor_is_kept_as_it_was(make_workload, constant):
    class Counting(nn.Linear):
        def __init__(self):
            super().__init__(6, 3)
            self.calls = {"train": 0}

        def forward(self, inputs):
            self.calls["train"] += self.training
            return super().forward(inputs)

        def get_extra_state(self):
            return self.calls

        def set_extra_state(self, state):
            self.calls = state

    training = lrs.train(make_workload(model=Counting), constant(), snapshots=2)
    list(training)
    assert [kept.weights["_extra_state"] for kept in training.snapshots] == [{"train": 15}, {"train": 20}]


def test_a_training_that_goes_on_from_a_file_has_the_same_snapshots(make_workload, same_bits, tmp_path):
    schedule = SGDR(0.0, 0.1, T_0=5)
    whole, half, rest = (lrs.train(make_workload(), schedule, seed=2, snapshots=3) for _ in range(3))
    list(whole)
    assert [next(half).step for _ in range(3)] == [0, 5, 10]
    torch.save(half.state_dict(), tmp_path / "half.pt")
    rest.load_state_dict(torch.load(tmp_path / "half.pt", weights_only=True))
    list(rest)
    for one, other in zip(whole.snapshots, rest.snapshots, strict=True):
        assert (one.step, one.seed) == (other.step, other.seed)
        assert same_bits(one.weights, other.weights)


@pytest.mark.parametrize("count", [-1, 2.5, "3", None])
def test_a_number_that_is_not_whole_is_refused(make_workload, constant, count):
    with pytest.raises(lrs.errors.InvalidInputError, match=r"snapshots must be (a whole number|at least 0), but got"):
        lrs.train(make_workload(), constant(), snapshots=count)


# ---- judging another model on a training's data ----


def test_another_model_is_judged_as_the_trained_one_and_changes_nothing(make_workload, trained, constant, same_bits):
    _, expected, final = trained(make_workload(), constant())
    training = lrs.train(make_workload(), constant())
    for evaluation, same in zip(training, expected, strict=True):
        assert evaluation.metrics == same.metrics == training.evaluate() == training.evaluate(training.model)
        assert training.evaluate(nn.Linear(6, 3)) != same.metrics
    assert same_bits(
        dict(training.model.named_parameters()), {n: final[n] for n, _ in training.model.named_parameters()}
    )


def test_a_closed_training_has_no_data_to_judge_on(make_workload, constant):
    training = lrs.train(make_workload(), constant())
    list(training)
    training.close()
    with pytest.raises(lrs.errors.InvalidInputError, match="the training was closed"):
        training.evaluate()


# ---- in a comparison ----


def small(**changes):
    """A classification that trains in milliseconds: 3 classes, 100 examples to judge on, in one batch."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(164, 4, generator=generator)
    classes = (inputs @ torch.randn(4, 3, generator=generator)).argmax(1)
    settings = {
        "model": lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)),
        "optimizer": partial(torch.optim.SGD, momentum=0.5),
        "train": (inputs[:64], classes[:64]),
        "valid": (inputs[64:], classes[64:]),
        "batch_size": 8,
        "num_steps": 24,
        "device": "cpu",
    }
    return lrs.classification(**(settings | changes))


def compared(workload=None, **changes):
    settings = {
        "strategies": {"low": 0.1, "high": 0.5},
        "schedules": ["constant", "triangular2"],
        "budget": 1,
        "seeds": 2,
        "storage": None,
        "progress": False,
    }
    return lrs.compare(workload or small(), **(settings | changes))


@pytest.fixture(scope="module")
def comparison():
    return compared()


def negative_log_likelihood(workload, snapshots):
    """Of the mean probabilities of the models, in NumPy."""
    inputs, classes = next(iter(workload.valid_data()))
    probabilities = []
    for snapshot in snapshots:
        model = workload.model()
        model.load_state_dict(snapshot.weights)
        powers = np.exp(model.eval()(inputs).detach().double().numpy())
        probabilities.append(powers / powers.sum(1, keepdims=True))
    return -np.log(np.mean(probabilities, axis=0)[np.arange(len(classes)), classes.numpy()]).mean()


def test_the_ensembles_objective_is_that_of_the_same_training_by_hand(comparison):
    rows = comparison.trials.query("schedule == 'triangular2'")
    assert len(rows) == 4
    for row in rows.itertuples():
        workload = small()
        training = lrs.train(workload, lrs.schedules.by_name("triangular2", row.lr, 24, 8), seed=row.seed, snapshots=2)
        assert list(training)[-1].metrics["loss"] == row.objective
        expected = negative_log_likelihood(workload, training.snapshots)
        assert row.ensemble_objective == pytest.approx(expected, rel=1e-5)
        assert row.ensemble_objective != pytest.approx(row.objective, rel=1e-4)
        assert row.ensemble_members == 2


def test_only_trainings_of_several_cycles_have_an_ensemble(comparison):
    rows = comparison.trials.query("schedule == 'constant'")
    assert rows["ensemble_objective"].isna().all()
    assert rows["ensemble_members"].isna().all()
    one = compared(schedules={"cosine": lambda lr: SGDR(0.0, lr, T_0=24)}, seeds=1)
    assert one.trials["ensemble_members"].isna().all()


def test_the_columns_types_do_not_depend_on_whether_there_are_any(comparison):
    for trials in (comparison.trials, compared(snapshots=0, seeds=1).trials, trials_frame([])):
        assert str(trials["ensemble_members"].dtype) == "Int64"
    assert comparison.trials["ensemble_objective"].dtype == np.float64


def test_up_to_that_many_members(comparison):
    for asked, members in ((2, 2), (9, 3)):  # 3 cycles fit
        trials = compared(snapshots=asked, schedules="triangular2", seeds=1).trials
        assert trials["ensemble_members"].tolist() == [members] * 2


def test_ensembles_change_no_trial(comparison):
    without = compared(snapshots=0)
    assert without.trials[ENSEMBLE].isna().all(axis=None)
    left_out = [*TIMES, *ENSEMBLE]
    pd.testing.assert_frame_equal(without.trials.drop(columns=left_out), comparison.trials.drop(columns=left_out))
    assert without.summary(full=True)["steps"].tolist() == comparison.summary(full=True)["steps"].tolist()


def test_no_ensemble_of_a_workload_that_does_not_say_how_to_combine():
    assert compared(small(combine=None), seeds=1).trials[ENSEMBLE].isna().all(axis=None)


def test_the_summary_has_the_ensemble_of_each_studys_best_trial():
    found = compared(strategies=["grid"], schedules=["triangular2"], lr_range=(0.01, 1.0), budget=3)
    trials = found.trials
    best = trials.loc[trials.groupby("seed", observed=True)["objective"].idxmin()]
    assert found.summary(full=True)["ensemble"].item() == pytest.approx(best["ensemble_objective"].mean())
    assert best["ensemble_objective"].mean() != trials["ensemble_objective"].mean()


def with_ensembles(points, ensembles, **changes):
    record = study(points, **changes)
    for trial, value in zip(record.trials, ensembles, strict=True):
        if value is not None:
            trial.outcome["ensemble"] = {"members": 3, "metrics": {"loss": value}}
    return record


@pytest.mark.parametrize(
    ("ensembles", "expected"),
    [
        ([(0.3, 0.1), (0.5, 0.1)], 0.4),  # of the first trials, which are the best
        ([(0.3, 0.1), (7.0, 0.1)], 0.65),  # no worse than at step 0
        ([(0.3, 0.1), (None, 0.1)], math.nan),
        ([(0.3, 0.1), (math.nan, 0.1)], math.nan),
        ([(None, None), (None, None)], math.nan),
    ],
)
def test_the_summarys_ensemble_by_hand(ensembles, expected):
    records = [with_ensembles([(0.1, 0.4), (0.2, 0.6)], values, seed=seed) for seed, values in enumerate(ensembles)]
    summary = summary_frame(records)
    assert summary["ensemble"].item() == pytest.approx(expected, nan_ok=True)
    assert summary["best"].item() == 0.4


def test_the_report_shows_ensembles_only_where_there_are_any(comparison, tmp_path):
    page = comparison.save(tmp_path / "with").read_text()
    markdown = (tmp_path / "with" / "summary.md").read_text()
    heads = "its snapshot ensemble", "ensemble objective"
    assert heads[0] in markdown
    assert all(f">{head}</th>" in page for head in heads)
    without = [study([(0.1, 0.4)])]
    page = save_report(Findings("by hand", without), tmp_path / "without").read_text()
    assert not any(head in page for head in heads)
    assert "ensemble" not in summary_markdown(Findings("by hand", without))


def test_a_metric_that_fails_on_an_ensemble_fails_no_trial(tmp_path):
    workload = small()

    def metrics(model, batch):
        assert model[3].weight.isfinite().all()  # an ensemble has no layers of its own
        return {"loss": workload.loss(model, batch)}

    found = compared(replace(workload, metrics=metrics), schedules="triangular2", seeds=1)
    assert set(found.trials["outcome"]) == {"finished"}
    assert found.trials[ENSEMBLE].isna().all(axis=None)
    record = found.records[0].trials[0].outcome["ensemble"]
    assert record["members"] == 2
    assert "SnapshotEnsemble" in record["error"]
    assert "ensembles that could not be judged" in found.save(tmp_path).read_text()


def test_diverged_and_pruned_trainings_have_none():
    lines = {"lost": lambda lr: lrs.schedules.Triangular(lr, 1e20, step_size=4)}
    found = compared(schedules=lines, seeds=1)
    assert set(found.trials["outcome"]) == {"diverged"}
    assert found.trials["ensemble_members"].isna().all()
    pruned = compared(schedules="triangular2", seeds=1, pruner=optuna.pruners.ThresholdPruner(upper=0.0))
    assert set(pruned.trials["outcome"]) == {"pruned"}
    assert pruned.trials["ensemble_members"].isna().all()


def test_another_number_may_be_asked_for_later_and_what_is_done_stays():
    storage = optuna.storages.InMemoryStorage()
    settings = {"storage": storage, "schedules": ["triangular2"], "strategies": ["random"], "seeds": 1}
    first = compared(snapshots=0, **settings).trials
    again = compared(snapshots=3, **settings).trials
    pd.testing.assert_frame_equal(first, again)
    more = compared(snapshots=2, budget=2, **settings).trials
    assert more["ensemble_members"].tolist() == [pd.NA, 2]
    assert more["objective"].tolist()[0] == first["objective"].item()


def test_confirmations_have_ensembles_too():
    test = torch.randn(30, 4), torch.zeros(30, dtype=torch.int64)
    found = compared(small(test=test), schedules="triangular2", seeds=1, confirm=1)
    row = found.confirmations.iloc[0]
    workload = small(valid=test)
    training = lrs.train(
        workload, lrs.schedules.by_name("triangular2", row["lr"], 24, 8), seed=int(row["seed"]), snapshots=2
    )
    list(training)
    assert row["ensemble_objective"] == pytest.approx(negative_log_likelihood(workload, training.snapshots), rel=1e-5)


@pytest.mark.parametrize("count", [1, -1, 2.5, "3"])
def test_fewer_than_two_members_are_refused(count):
    with pytest.raises(
        lrs.errors.InvalidInputError, match=r"snapshots must be (from 2 .* or 0 to judge no ensembles|a whole number)"
    ):
        compared(snapshots=count, dry_run=True)
