"""Controllers: refind's range tests are those of the training itself, and a training goes on under any of them."""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lr_search as lrs
from lr_search.controllers import Controller, ReduceOnPlateau, Refind
from lr_search.errors import InvalidInputError
from lr_search.ramp.settings import RampSettings
from lr_search.report.figures import plot_schedules, shapes_frame
from lr_search.report.figures.panels import Panels
from lr_search.results.findings import Findings
from lr_search.schedules import SGDR, Constant, ExpRange, Schedule, Triangular, Triangular2, by_name, join
from tests.helpers.workloads import line

ENDS = [10, 20, 30]
CYCLES = Triangular(0.01, 0.04, 5)


def by_hand(workload: lrs.Workload, seed: int, read: Callable[[lrs.LRCurve], tuple[float, float]]) -> Any:
    """Three triangles of 10 steps; before the second and third, a range test sets the bounds. Returns: bounds, training, curves."""
    training = lrs.train(workload, CYCLES, seed=seed)
    bounds, curves = [(0.01, 0.04)], []
    assert training.advance(10)
    pieces: list[Schedule] = [CYCLES]
    for end in ENDS[:-1]:
        peak = bounds[-1][1]
        curves.append(training.range_test(start_lr=1e-3 * peak, end_lr=1e2 * peak, num_steps=20))
        bounds.append(read(curves[-1]))
        pieces.append(Triangular(*bounds[-1], 5))
        training._course.schedule = join(pieces, ENDS[: len(pieces) - 1])
        assert training.advance(end + 10)
    return bounds, training, curves


@pytest.mark.parametrize("read", ["suggestion", "bounds"])
def test_refind_trains_each_cycle_between_the_bounds_of_a_range_test_at_its_start(read: Any) -> None:
    def reading(curve: lrs.LRCurve) -> tuple[float, float]:
        return curve.bounds() if read == "bounds" else (curve.suggest().lr / 4, curve.suggest().lr)

    training = lrs.train(line(), Refind(CYCLES, read, num_steps=20), seed=5)
    peaks = {}
    for each in training:
        assert isinstance(training.schedule, Triangular)
        peaks[each.step] = (training.schedule.base_lr, training.schedule.max_lr)
    bounds, same, curves = by_hand(line(), 5, reading)
    assert list(peaks) == [0, *ENDS]
    np.testing.assert_allclose([peaks[0], peaks[10], peaks[20]], bounds, rtol=1e-12)
    assert peaks[30] == peaks[20], "there is no cycle after the last"
    assert len(set(bounds)) == 3
    for ours, theirs in zip(training.model.parameters(), same.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    assert training.steps_charged == 30 + sum(curve.steps_charged for curve in curves)
    assert training.step == 30


def test_refind_charges_no_more_than_it_says() -> None:
    controller = Refind(CYCLES, num_steps=20)
    assert controller.extra_steps(30) == 2 * RampSettings(num_steps=20).most_steps() == 2 * (20 + 7)
    assert Refind(CYCLES, num_steps=20, gain_ratio=False).extra_steps(30) == 2 * 20
    training = lrs.train(line(), controller)
    list(training)
    assert 30 < training.steps_charged <= 30 + controller.extra_steps(30)


@pytest.mark.parametrize(
    "cycles", [Triangular2(0.01, 0.04, 5), ExpRange(0.01, 0.04, 5, gamma=0.99), SGDR(0.0, 0.04, 10)]
)
def test_refind_keeps_the_kind_and_the_places_of_the_cycles(cycles: Any) -> None:
    training = lrs.train(line(), Refind(cycles, num_steps=20))
    assert [each.step for each in training if each.end_of_cycle] == ENDS
    assert type(training.schedule) is type(cycles)
    assert training.schedule.cycle_ends(30) == ENDS
    assert training.schedule.base_lr / training.schedule.max_lr == pytest.approx(cycles.base_lr / cycles.max_lr)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "controller",
    [ReduceOnPlateau(1.2, patience=0, factor=0.5), Refind(CYCLES, num_steps=20)],
    ids=["plateau", "refind"],
)
def test_a_training_under_a_controller_goes_on_elsewhere_with_the_same_bits(controller: Controller) -> None:
    whole = lrs.train(line(), controller, seed=2)
    undisturbed = list(whole)
    first = lrs.train(line(), controller, seed=2)
    begun = [next(first), next(first), next(first)]
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second = lrs.train(line(), controller, seed=2)
    second.load_state_dict(torch.load(buffer, weights_only=True))
    assert second.schedule == first.schedule != controller.schedule
    resumed = begun + list(second)
    np.testing.assert_equal([vars(each) for each in resumed], [vars(each) for each in undisturbed])
    assert second.steps_charged == whole.steps_charged
    for one, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "controller",
    [
        ReduceOnPlateau(0.1, patience=3, note="x"),
        Refind(CYCLES),
        by_name("plateau", 0.1, 30),
        by_name("refind", 0.1, 30),
    ],
    ids=["plateau", "refind", "plateau by name", "refind by name"],
)
def test_controllers_are_plain_settings(controller: Controller) -> None:
    copy = pickle.loads(pickle.dumps(controller))
    assert copy == controller
    assert hash(copy) == hash(controller)
    assert "\n" not in controller.describe()
    with pytest.raises(AttributeError):
        controller.lr = 1.0  # type: ignore[attr-defined]


class Halving(Controller):
    """What a user may write: half the LR after each evaluation."""

    schedule = Constant(0.4)  # type: ignore[assignment]

    def start(self, training: lrs.Training) -> Any:
        return lambda evaluation: Constant(0.4 / 2 ** (evaluation.step // 10 + 1))

    def describe(self) -> str:
        return "halving"


def test_a_controller_of_ones_own_is_asked_at_every_evaluation_but_the_last() -> None:
    used = [each.lr for each in lrs.train(line(), Halving())]
    assert used == [0.4, 0.2, 0.1, 0.05]


def test_a_controller_needs_the_evaluations_that_advance_leaves_out() -> None:
    training = lrs.train(line(), Halving())
    with pytest.raises(
        InvalidInputError, match="step must lie before 0, since a controller decides at that evaluation"
    ):
        training.advance(10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Refind(Constant(0.1)),
            "cycles must be an lr_search.Triangular, .* or an lr_search.SGDR, but got Constant",
        ),  # type: ignore[arg-type]
        (lambda: Refind(CYCLES, "valley"), "read must be 'suggestion' or 'bounds', but got 'valley'"),  # type: ignore[arg-type]
        (lambda: Refind(CYCLES, num_steps=5), "num_steps must be at least 20"),
        (
            lambda: by_name("refind", 0.1, 300, cycles_of="cosine"),
            "cycles_of must be one of triangular, .* but got cycles_of='cosine'",
        ),
        (lambda: by_name("refind", 0.1, 300, power=2), "triangular has the options .*but got 'power'"),
        (lambda: by_name("plateau", 0.1, 300, power=2), "plateau has the options patience, .*but got 'power'"),
        (lambda: by_name("refind", 0.1, 4), "needs at least 6 steps .*for 3 cycles"),
    ],
)
def test_what_breaks_a_rule_is_an_error_with_the_rule_and_the_value(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_names_lay_controllers_out_with_the_lr_as_their_first_peak() -> None:
    plateau = by_name("plateau", lr=0.3, num_steps=300, factor=0.5)
    assert plateau == ReduceOnPlateau(0.3, factor=0.5, patience=2)
    found = by_name("refind", lr=0.3, num_steps=300, cycles_of="sgdr", cycles=3, T_mult=1, ramp_steps=40)
    assert found == Refind(SGDR(0.0, 0.3, T_0=100), num_steps=40)
    assert by_name("refind", lr=0.4, num_steps=300).schedule == by_name("triangular", lr=0.4, num_steps=300)


def test_compare_charges_the_range_tests_of_a_controller_to_its_trials() -> None:
    compared = lrs.compare(
        line(num_steps=60, eval_every=20),
        strategies=["grid"],
        schedules={"found again": lambda lr: by_name("refind", lr, 60, ramp_steps=20), "plateau": "plateau"},
        lr_range=(1e-2, 0.5),
        budget=5,
        seeds=2,
        storage=None,
        progress=False,
    )
    trials = compared.trials
    refound = trials[trials["schedule"] == "found again"]
    # 60 steps and 3 tests of at most 27: twice 141 fit into 300; the constant's cost 60
    assert refound.groupby("seed", observed=True).size().tolist() == [2, 2]
    assert trials[trials["schedule"] == "plateau"].groupby("seed", observed=True).size().tolist() == [5, 5]
    assert (refound["steps"] > 60).all()
    assert (refound["steps"] <= 141).all()
    assert (refound.groupby("seed", observed=True)["steps"].sum() <= 300).all()
    assert refound["steps_charged"].max() <= 300
    assert compared.recommend().schedule in ("found again", "plateau")
    legend = plot_schedules(shapes_frame(Panels(Findings("controllers", compared.records)))).get_legend()
    assert legend is not None
    assert all(text.get_text().endswith(", as its best training went") for text in legend.get_texts())
