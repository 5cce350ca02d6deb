"""The range test at later points of a training: the training's bits, the edge of stability, the table and the picture."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lr_search as lrs
from lr_search.curves.gain_crossing import gain_crossing
from lr_search.errors import InvalidInputError, UnknownNameError
from lr_search.schedules import Constant, Triangular2
from lr_search.state.plain_state import same_codes
from tests.helpers.case_ids import case_id

QUICK = {"num_steps": 20, "end_lr": 1.0}


@pytest.fixture
def finished(weights):
    """Trains to the end; `between` is called with the training after each evaluation. Returns: evaluations and state."""

    def run(workload, schedule, between=lambda training: None):
        training = lrs.train(workload, schedule, seed=3, snapshots=2)
        evaluations = []
        for evaluation in training:
            evaluations.append(evaluation)
            between(training)
        return evaluations, weights(training.model), training.state_dict(), training.snapshots

    return run


def shared_loader(examples):
    """One loader for every walk, with a generator of its own."""
    loader = DataLoader(
        TensorDataset(*examples), batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(5)
    )
    return lambda: loader


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "bf16", "accumulate": 2, "clip_norm": 0.5},
        {"precision": "fp16", "optimizer": torch.optim.Adam},
        {"train_data": shared_loader},
    ],
    ids=["plain", "bf16", "fp16 Adam", "one shared loader"],
)
@pytest.mark.parametrize(
    "settings", [QUICK, {"num_steps": 20, "extend": True, "valid_batches": 1}], ids=["", "extended"]
)
def test_a_training_with_range_tests_in_it_ends_in_the_same_bits(
    make_workload, finished, same_bits, examples, global_rng, changes, settings
):
    changes = {name: value(examples) if value is shared_loader else value for name, value in changes.items()}
    workload, schedule = make_workload(**changes), Triangular2(0.01, 0.1, step_size=5)
    plain = finished(workload, schedule)
    before = global_rng()
    tested = finished(workload, schedule, lambda training: training.range_test(**settings))
    assert global_rng() == before
    assert [e.metrics for e in tested[0]] == [e.metrics for e in plain[0]]
    assert [e.train_loss for e in tested[0]][1:] == [e.train_loss for e in plain[0]][1:]
    assert same_bits(tested[1], plain[1])
    assert same_codes(tested[2]["kept"]["optimizer"], plain[2]["kept"]["optimizer"])
    assert tested[2]["scaler"] == plain[2]["scaler"]
    assert all(same_bits(one.weights, other.weights) for one, other in zip(tested[3], plain[3], strict=True))


def test_a_failing_range_test_changes_no_bit_either(make_workload, finished, same_bits, cross_entropy):
    calls = {"left": -1}

    def loss(model, batch):
        calls["left"] -= 1
        if calls["left"] == 0:
            raise ZeroDivisionError("mine")
        return cross_entropy(model, batch)

    def failing(training):
        calls["left"] = 13
        with pytest.raises(ZeroDivisionError, match="mine"):
            training.range_test(**QUICK, gain_ratio=False)

    workload = make_workload(loss=loss)
    assert same_bits(finished(workload, Constant(0.1), failing)[1], finished(workload, Constant(0.1))[1])


def test_advancing_changes_no_bit_and_the_checkpoint_it_stops_at_is_evaluated_next(
    make_workload, constant, trained, weights, same_bits
):
    _, evaluations, plain = trained(make_workload(), constant())
    training = lrs.train(make_workload(), constant())
    assert training.advance(0)
    assert training.advance(7)
    assert training.advance(10)
    assert training.step == 10
    later = [next(training)]
    assert training.advance(12)
    later += list(training)
    assert [e.step for e in later] == [10, 15, 20]
    assert [e.metrics for e in later] == [e.metrics for e in evaluations if e.step >= 10]
    # the mean since the last evaluation, which there was none of
    assert later[0].train_loss == pytest.approx(np.mean([e.train_loss for e in evaluations if 0 < e.step <= 10]))
    assert training.stopped == "finished"
    assert same_bits(weights(training.model), plain)


def test_advancing_to_a_step_behind_or_beyond_is_an_error(make_workload, constant):
    training = lrs.train(make_workload(), constant())
    training.advance(5)
    for step in (4, 21):
        message = f"step must lie between the present step 5 and num_steps=20, but got step={step}."
        with pytest.raises(InvalidInputError, match=re.escape(message)):
            training.advance(step)


def test_a_training_that_diverges_does_not_arrive(make_workload, constant):
    training = lrs.train(make_workload(), constant(1e20))
    assert not training.advance(20)
    assert training.stopped == "diverged"
    with pytest.raises(InvalidInputError, match=r"needs a training that has not diverged, but got '.* became"):
        training.range_test()


def test_before_the_first_step_it_is_the_range_test_of_the_workload(make_workload, constant):
    workload = make_workload(accumulate=2, clip_norm=1.0)
    own, later = (
        lrs.train(workload, constant(), seed=4).range_test(**QUICK),
        lrs.refind(workload, constant(), seed=4, at=[0, 20], range_test=QUICK),
    )
    expected = workload.range_test(4, **QUICK)
    for curve in (own, later.curves[0]):
        assert curve.loss.tolist() == expected.loss.tolist()
        np.testing.assert_array_equal(curve.gain_ratio, expected.gain_ratio)
    assert later.curves[20].loss.tolist() != expected.loss.tolist()


def test_the_batches_are_those_of_the_seed(make_workload, constant):
    def losses(**seed):
        return lrs.train(make_workload(), constant(), seed=4).range_test(**QUICK, **seed).loss.tolist()

    assert losses() == losses(seed=4) != losses(seed=5)


def test_it_equals_a_range_test_by_hand_on_the_model_that_was_trained(examples, cross_entropy, seed_all):
    def make():
        return nn.Linear(6, 3)

    batches = [tuple(part[8 * i : 8 * i + 8] for part in examples) for i in range(7)]
    workload = lrs.Workload(
        make, torch.optim.SGD, cross_entropy, lambda: batches, lambda: batches, num_steps=14, device="cpu"
    )
    seed_all(0)
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for batch in batches * 2:
        optimizer.zero_grad()
        cross_entropy(model, batch).backward()
        optimizer.step()
    by_hand = lrs.range_test(model, optimizer, batches, cross_entropy, **QUICK)
    assert (
        lrs.refind(workload, Constant(0.2), at=[14], range_test=QUICK).curves[14].loss.tolist() == by_hand.loss.tolist()
    )


def test_a_schedule_that_has_set_the_lr_to_0_does_not_matter(make_workload):
    schedule = Triangular2(0.01, 0.1, step_size=5)

    class Ended(type(schedule)):
        def values(self, steps):
            return np.where(steps < 9, super().values(steps), 0.0)

    found = lrs.refind(make_workload(), Ended(0.01, 0.1, step_size=5), at=[10], range_test=QUICK)
    assert found.curves[10].lr[-1] == pytest.approx(1.0)


class Bowl(nn.Module):
    """50 weights; the curvature is 4 times as large after 300 steps in training mode."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.full((50,), 0.3, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.steps += 1
        return 0.5 * torch.where(self.steps > 300, 4.0, 1.0) * ((self.w - x) ** 2).sum()


def bowl(curvature, num_steps, noise=0.3):
    batches = list(noise * torch.from_numpy(np.random.default_rng(0).normal(0, 1, (20, 50))))
    return lrs.Workload(
        Bowl, torch.optim.SGD, lambda model, x: curvature * model(x), lambda: batches, lambda: batches,
        num_steps=num_steps, device="cpu",
    )  # fmt: skip


@pytest.mark.parametrize("curvature", [0.5, 40.0])
def test_where_the_curvature_stays_the_usable_range_stays(curvature):
    ramp = {"start_lr": 1e-3 / curvature, "end_lr": 100 / curvature, "num_steps": 200}
    frame = lrs.refind(bowl(curvature, 60), Constant(0.1 / curvature), at=4, range_test=ramp).to_frame()
    assert frame["step"].tolist() == [0, 20, 40, 60]
    # the gain ratio of a step is 1 - lr * curvature / 2; the smoothing moves the crossing down a little
    assert frame["half_gain_lr"].to_numpy() * curvature == pytest.approx([1.0] * 4, rel=0.4)
    settled = frame["half_gain_lr"][1:]  # where training has arrived, the state does not change any more
    assert settled.max() < 1.02 * settled.min()


def test_where_the_curvature_grows_the_usable_range_falls_with_it():
    ramp = {"start_lr": 1e-3, "end_lr": 100.0, "num_steps": 150}
    found = lrs.refind(bowl(1.0, 400), Constant(0.05), at=[0, 150, 350, 400], range_test=ramp)
    frame = found.to_frame()
    assert frame["half_gain_lr"].to_numpy() * [1, 1, 4, 4] == pytest.approx([1.0] * 4, rel=0.4)


def test_it_trains_no_further_than_the_last_point_and_evaluates_nowhere(make_workload, constant, cross_entropy):
    calls = []

    def loss(model, batch):
        calls.append(model.training)
        return cross_entropy(model, batch)

    workload = make_workload(loss=loss, train_data=lambda: [(torch.ones(2, 6), torch.tensor([0, 1]))] * 4)
    found = lrs.refind(workload, constant(), at=[12, 5], range_test=QUICK | {"gain_ratio": False})
    assert list(found.curves) == [5, 12]
    assert len(calls) == 12 + 2 * 20
    assert all(calls)
    assert found.steps_charged == found.to_frame()["steps_charged"].sum() == 40


@pytest.mark.parametrize(
    ("at", "expected"),
    [(1, [0]), (2, [0, 20]), (5, [0, 5, 10, 15, 20]), (4, [0, 7, 13, 20]), ([3, 3, 1], [1, 3]), (range(2), [0, 1])],
    ids=case_id,
)
def test_points_are_spread_evenly_or_given(make_workload, constant, at, expected):
    assert list(lrs.refind(make_workload(), constant(), at=at, range_test=QUICK).curves) == expected


def test_under_a_cyclic_schedule_points_lie_at_cycles_ends(make_workload):
    found = lrs.refind(make_workload(num_steps=30), Triangular2(0.01, 0.1, step_size=5), range_test=QUICK)
    assert list(found.curves) == [0, 10, 20, 30]  # the ends nearest to the quarters


def test_a_training_that_diverges_ends_the_table_and_says_so(make_workload):
    class Leap(Constant):
        def values(self, steps):
            return np.where(steps < 10, 0.05, 1e30)

    found = lrs.refind(make_workload(), Leap(0.05), range_test=QUICK)
    assert list(found.curves) == [0, 5, 10]
    assert "became" in found.reason
    assert found.reason in found.plot().get_title()


def test_the_table_says_what_each_curve_says(make_workload):
    schedule = Triangular2(0.01, 0.1, step_size=5)
    found = lrs.refind(make_workload(), schedule, at=[0, 8, 20], range_test={"num_steps": 60, "end_lr": 100.0})
    frame = found.to_frame()
    assert frame.columns.tolist() == [
        "step", "lr", "suggestion", "rule", "status", "base_lr", "max_lr", "blow_up_lr", "half_gain_lr", "edge_lr",
        "steps_charged",
    ]  # fmt: skip
    texts, whole = ["rule", "status"], ["step", "steps_charged"]
    assert all(pd.api.types.is_integer_dtype(frame[name]) for name in whole)
    assert all(pd.api.types.is_float_dtype(frame[name]) for name in frame.columns.drop([*texts, *whole]))
    assert all(isinstance(value, str) for name in texts for value in frame[name])
    assert frame["lr"].tolist() == pytest.approx([schedule(0), schedule(8), schedule(19)])
    for row in frame.itertuples():
        curve = found.curves[row.step]
        suggestion = curve.suggest()
        assert (row.suggestion, row.rule, row.status) == (suggestion.lr, suggestion.rule, suggestion.status)
        assert (row.base_lr, row.max_lr) == curve.bounds()
        crossings = [gain_crossing(curve, level) for level in (0.5, 0.0)]
        np.testing.assert_array_equal([row.half_gain_lr, row.edge_lr], np.array(crossings, dtype=float))
        np.testing.assert_array_equal(row.blow_up_lr, np.array(curve.phases().blow_up_lr, dtype=float))
        assert row.steps_charged == curve.steps_charged == curve.num_steps + np.ceil((curve.num_steps + 1) / 3)
    assert found.to_frame("steepest")["rule"].unique().tolist() == ["steepest"]
    with pytest.raises(UnknownNameError):
        found.to_frame("steepestt")


def test_without_a_gain_ratio_its_columns_are_empty(make_workload, constant):
    found = lrs.refind(make_workload(), constant(), at=2, range_test=QUICK | {"gain_ratio": False})
    assert found.to_frame()[["half_gain_lr", "edge_lr"]].isna().all(axis=None)
    assert found.to_frame()["half_gain_lr"].dtype == float
    assert isinstance(found.plot().get_figure(), Figure)


def test_the_picture_shows_bounds_suggestions_edge_and_schedule(make_workload):
    schedule = Triangular2(0.01, 0.1, step_size=5)
    found = lrs.refind(make_workload(), schedule, at=[0, 10, 20], range_test={"num_steps": 60, "end_lr": 100.0})
    figure = Figure()
    ax = figure.subplots()
    assert found.plot(ax) is ax
    frame = found.to_frame()
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["schedule"].get_ydata() == pytest.approx(schedule(lines["schedule"].get_xdata()))
    edge = lines["edge of stability (gain ratio 0)"]
    known = frame[frame["edge_lr"].notna()]
    assert edge.get_xydata().tolist() == known[["step", "edge_lr"]].to_numpy().tolist()
    points = [c for c in ax.collections if str(c.get_label()).startswith("suggestion")]
    drawn = np.concatenate([np.asarray(c.get_offsets()) for c in points])
    assert sorted(map(tuple, drawn.tolist())) == sorted(zip(frame["step"], frame["suggestion"], strict=True))
    band = next(c for c in ax.collections if str(c.get_label()).startswith("bounds"))
    (low, high), top = ax.dataLim.intervaly, max(path.vertices[:, 1].max() for path in band.get_paths())
    assert (top, low, high) == (frame["max_lr"].max(), ax.dataLim.y0, ax.dataLim.y1)
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "learning rate (log)")
    assert ax.get_xlabel() == "steps done before the range test"
    figure.canvas.draw()


@pytest.mark.processes
def test_the_picture_is_drawn_without_a_display_and_without_pyplot():
    code = """
import sys, torch
import lr_search as lrs
from lr_search.state.plain_state import same_codes
from lr_search.schedules import Constant
from tests.helpers.workloads import line
lrs.refind(line(), Constant(0.1), at=2, range_test={"num_steps": 20}).plot().get_figure().savefig(sys.argv[1])
print("matplotlib.pyplot" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code, "/dev/null"], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout.split()) == (0, ["False"]), found.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"at": 0}, "at must be from 1 to num_steps + 1=21 points, or a list of steps, but got at=0."),
        ({"at": []}, "at must hold whole numbers of steps from 0 to num_steps=20, but got at=[]."),
        ({"at": [0, 21]}, "at must hold whole numbers of steps from 0 to num_steps=20, but got at=[0, 21]."),
        ({"at": [0.5]}, "at must be a whole number or a sequence of whole numbers, but got [0.5]."),
        (
            {"range_test": {"steps": 5}},
            "range_test may hold start_lr, end_lr, num_steps, ramp, extend, gain_ratio, valid_batches, but got ['steps'].",
        ),
        ({"range_test": {"num_steps": 5}}, "num_steps must be at least 20, but got num_steps=5."),
        ({"range_test": {"end_lr": 1e-9}}, "start_lr must be below end_lr, but got start_lr=1e-07, end_lr=1e-09."),
        ({"schedule": 0.1}, "schedule must be an lr_search.Schedule, but got 0.1."),
        ({"workload": 5}, "workload must be an lr_search.Workload, but got 5."),
    ],
    ids=case_id,
)
def test_every_rule_says_what_it_is_and_what_came(make_workload, constant, arguments, message):
    def never(model, batch):
        raise AssertionError("trained before the arguments were checked")

    given = {"workload": make_workload(loss=never), "schedule": constant(), "at": [20]} | arguments
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        lrs.refind(**given)
