"""Phases of a ramp and bounds for cycles: on curves whose edges follow from a formula, on noise, on a real training."""

import math
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search import demo
from lr_search.curves.curve import LRCurve
from lr_search.curves.phases import Phases, has_descent
from lr_search.errors import InvalidInputError

KERNEL = 0.2  # decades: a normal rise under the smoothing's kernel is a wider normal rise
TENTH = -NormalDist().inv_cdf(0.1)  # standard deviations from the middle of a normal rise to its 10 % and 90 %
PLACE = np.linspace(-6, 1, 281)  # log10(lr), 40 steps a decade
STEP = PLACE[1] - PLACE[0]


def normal_rise(middle: float, width: float, place: np.ndarray = PLACE) -> np.ndarray:
    """From 0 to 1 as the normal distribution's share does."""
    return np.array([NormalDist(middle, width).cdf(p) for p in place])


def wider(width: float) -> float:
    return TENTH * math.hypot(width, KERNEL)


def noise(seed: int, size: int = len(PLACE)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size)


def of_loss(loss: np.ndarray, **settings: Any) -> LRCurve:
    return LRCurve(10**PLACE, loss, **settings)


def of_metric(name: str, values: np.ndarray) -> LRCurve:
    return of_loss(np.full(len(PLACE), 2.0), metrics={name: values})


# --- phases


def test_the_edges_are_where_a_tenth_of_the_fall_is_done_and_halfway_between_a_fall_and_an_equal_rise() -> None:
    curve = of_loss(2.3 - normal_rise(-4, 0.4) + normal_rise(-1, 0.4))
    found = curve.phases()
    assert math.log10(found.descent_lr) == pytest.approx(-4 - wider(0.4), abs=STEP)
    assert math.log10(found.blow_up_lr) == pytest.approx(-2.5, abs=STEP)


@pytest.mark.parametrize("seed", range(5))
def test_noise_moves_the_edges_little(seed: int) -> None:
    curve = of_loss(2.3 - normal_rise(-4, 0.4) + 4 * normal_rise(-1, 0.2) + 0.05 * noise(seed))
    found = curve.phases()
    assert math.log10(found.descent_lr) == pytest.approx(-4 - wider(0.4), abs=0.25)
    assert -3.5 < math.log10(found.blow_up_lr) < -1.3  # the floor between the two is flat


@pytest.mark.parametrize("power", [1e-6, 1.0, 1e6])
def test_the_edges_do_not_depend_on_the_losses_unit_or_level(power: float) -> None:
    loss = 2.3 - normal_rise(-4, 0.4) + normal_rise(-1, 0.4) + 0.02 * noise(0)
    assert of_loss(power * loss - 3 * power).phases() == of_loss(loss).phases()


def test_a_flat_curve_has_no_edges() -> None:
    for level in (0.0, 2.3, -1e9):
        curve = of_loss(np.full(len(PLACE), level))
        assert not has_descent(curve)
        assert curve.phases() == Phases(None, None)


def test_a_rising_curve_has_no_descent_and_no_edge_but_where_it_was_cut_off() -> None:
    loss = 2.3 + normal_rise(0, 0.3)
    assert of_loss(loss).phases() == Phases(None, None)
    assert of_loss(loss, stopped="diverged").phases() == Phases(None, 10.0)


def test_a_loss_that_still_falls_at_the_end_does_not_blow_up() -> None:
    found = of_loss(2.3 - normal_rise(0, 0.8)).phases()
    assert found.descent_lr is not None
    assert found.blow_up_lr is None


def test_a_rise_in_the_last_steps_alone_is_no_blow_up() -> None:
    curve = of_loss(2.3 - normal_rise(0, 0.5) + 0.3 * (PLACE[-1] == PLACE))
    assert PLACE[-1] - 0.05 * 7 < PLACE[np.argmin(curve.smoothed)] < PLACE[-1]
    assert curve.smoothed[-1] > curve.smoothed.min() + 1e-4
    assert curve.phases().blow_up_lr is None


@pytest.mark.parametrize("stopped", ["diverged", "non_finite"])
def test_a_ramp_cut_short_blew_up_where_the_loss_was_lowest(stopped: str) -> None:
    curve = of_loss(2.3 - normal_rise(0, 0.4), stopped=stopped)  # the next losses, which are not there, were huge
    assert curve.phases().blow_up_lr == curve.lr[-1]


def test_few_of_many_pure_noises_have_a_descent() -> None:
    curves = [LRCurve(np.geomspace(1e-7, 10, 100), 2.3 + 0.02 * noise(seed, 100)) for seed in range(400)]
    assert sum(has_descent(curve) for curve in curves) <= 20
    assert sum(has_descent(curve) for curve in curves[:20]) <= 1
    assert sum(curve.phases().blow_up_lr is not None for curve in curves) <= 8


def test_a_descent_of_twice_the_noise_is_seen_through_it() -> None:
    curves = [of_loss(2.3 - 2 * normal_rise(-3, 0.4) + noise(seed)) for seed in range(20)]
    assert all(has_descent(curve) for curve in curves)


def test_a_rise_within_the_noise_is_no_blow_up() -> None:
    steady = 2.3 - normal_rise(-3, 0.3)  # falls, and stays down
    found = [of_loss(steady + 0.2 * noise(seed)).phases() for seed in range(50)]
    assert all(each.descent_lr is not None for each in found)
    assert sum(each.blow_up_lr is not None for each in found) <= 5


def test_a_rise_where_no_step_lost_half_its_promise_is_no_blow_up() -> None:
    loss = 2.3 - normal_rise(-4, 0.4) + normal_rise(-1, 0.4)
    sound, broken = np.ones(len(PLACE)), 1 - normal_rise(-1, 0.2)
    assert of_loss(loss, gain_ratio=sound).phases().blow_up_lr is None
    assert of_loss(loss, gain_ratio=broken).phases() == of_loss(loss).phases()
    assert of_loss(loss, gain_ratio=sound, stopped="diverged").phases() == of_loss(loss).phases()
    unknown = np.full(len(PLACE), np.nan)  # steps that drown in rounding
    assert of_loss(loss, gain_ratio=unknown).phases() == of_loss(loss).phases()


@pytest.mark.parametrize("ends", [(1e-7, 1e-4), (1e-9, 1e-6)])
def test_a_training_that_does_not_move_does_not_blow_up(ends: tuple[float, float]) -> None:
    workload = demo.workload()
    for seed in range(3):
        curve = workload.range_test(seed, start_lr=ends[0], end_lr=ends[1])
        assert curve.phases().blow_up_lr is None


# --- bounds


def test_bounds_are_a_tenth_and_nine_tenths_of_a_fall() -> None:
    found = np.log10(of_loss(2.3 - normal_rise(-3, 0.4)).bounds())
    assert found == pytest.approx([-3 - wider(0.4), -3 + wider(0.4)], abs=STEP)


@pytest.mark.parametrize("sigma", [0.0, 1e-4, 0.003, 0.01])
@pytest.mark.parametrize("width", [0.3, 1.0])
def test_bounds_of_an_accuracy_that_rises_and_then_falls(sigma: float, width: float) -> None:
    accuracy = 0.1 + 0.8 * normal_rise(-3, width) - 0.7 * normal_rise(0.5, 0.1) + sigma * noise(1)
    found = np.log10(of_metric("valid_accuracy", accuracy).bounds("valid_accuracy"))
    assert found == pytest.approx([-3 - wider(width), -3 + wider(width)], abs=0.11)


@pytest.mark.parametrize("seed", range(8))
def test_the_upper_bound_is_where_an_accuracy_turns_ragged_before_it_slows(seed: int) -> None:
    rough = 0.1 + 0.8 * normal_rise(-3, 1.0) + np.where(PLACE < -3, 0.003, 0.15) * noise(seed)
    _, max_lr = of_metric("valid_accuracy", rough).bounds("valid_accuracy")
    assert math.log10(max_lr) == pytest.approx(-3, abs=0.3)
    assert math.log10(max_lr) < -3 + wider(1.0) - 1


def test_one_jump_is_not_ragged() -> None:
    accuracy = 0.1 + 0.8 * normal_rise(-3, 1.0) + 0.003 * noise(0)
    jumped = accuracy.copy()
    jumped[np.argmin(np.abs(PLACE + 3))] -= 0.2
    bounds = [np.log10(of_metric("acc", values).bounds("acc")) for values in (accuracy, jumped)]
    assert bounds[1] == pytest.approx(bounds[0], abs=2 * STEP)


def test_the_upper_bound_is_where_an_accuracy_that_never_slows_falls() -> None:
    accuracy = np.where(PLACE < -1, 0.9 * 10 ** (PLACE + 1), 0.0)  # in proportion to the LR, then nothing
    base_lr, max_lr = np.log10(of_metric("valid_accuracy", accuracy).bounds("valid_accuracy"))
    assert -1.5 < max_lr <= -1
    assert max_lr - base_lr == pytest.approx(math.log10(9), abs=0.2)


def test_base_lr_is_a_quarter_where_only_max_lr_is_clear() -> None:
    base_lr, max_lr = of_metric("acc", np.where(PLACE < -3, 0.1, 0.9)).bounds("acc")
    assert math.log10(max_lr) == pytest.approx(-3 + wider(0.0), abs=2 * STEP)
    assert base_lr == pytest.approx(10 ** (-3 - wider(0.0)), rel=0.2)  # clear at this width: 0.5 decades apart
    lr = np.linspace(0.1, 1, 181)  # a linear ramp smooths over a fortieth of its range
    base_lr, max_lr = LRCurve(lr, np.ones(181), metrics={"acc": 1.0 * (lr > 0.5)}, ramp="linear").bounds("acc")
    assert max_lr == pytest.approx(0.5 + TENTH * 0.025 * 0.9, abs=0.01)
    assert base_lr == max_lr / 4


def test_the_direction_goes_by_the_name_or_is_given() -> None:
    rising = 0.1 + 0.8 * normal_rise(-3, 0.4)
    by_name = of_metric("valid_accuracy", rising).bounds("valid_accuracy")
    assert of_metric("score", rising).bounds("score", direction="maximize") == by_name
    assert of_metric("error", 1 - rising).bounds("error") == pytest.approx(by_name)
    assert of_metric("acc", 1 - rising).bounds("acc", direction="minimize") == pytest.approx(by_name)
    assert of_metric("score", rising).bounds("score") != by_name


def test_the_loss_can_be_asked_for_by_name() -> None:
    curve = of_loss(2.3 - normal_rise(-3, 0.4))
    assert curve.bounds("loss") == curve.bounds()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("accuracy",), "metric must be one of loss, valid_accuracy, nothing, but got metric='accuracy'"),
        (("nothing",), "nothing must have a finite value to be read, but got values=[nan, nan, nan]"),
    ],
)
def test_a_metric_that_cannot_be_read_is_refused(arguments: tuple[str], message: str) -> None:
    nothing = np.full(len(PLACE), np.nan)
    curve = of_loss(np.ones(len(PLACE)), metrics={"valid_accuracy": normal_rise(-3, 0.4), "nothing": nothing})
    with pytest.raises(InvalidInputError) as error:
        curve.bounds(*arguments)
    assert message in str(error.value)


def test_a_direction_that_is_none_is_refused() -> None:
    curve = of_metric("score", normal_rise(-3, 0.4))
    with pytest.raises(InvalidInputError, match="direction must be 'minimize', 'maximize' or None, but got 'max'"):
        curve.bounds("score", direction="max")  # type: ignore[arg-type]


@pytest.mark.parametrize("gone", [np.nan, np.inf, -np.inf])
def test_a_metric_that_is_lost_at_the_end_counts_as_its_worst(gone: float) -> None:
    accuracy = 0.1 + 0.8 * normal_rise(-3, 0.4)
    for end in (-3, 0):
        expected = of_metric("accuracy", np.where(end < PLACE, accuracy.min(), accuracy)).bounds("accuracy")
        found = of_metric("accuracy", np.where(end < PLACE, gone, accuracy)).bounds("accuracy")
        assert found == pytest.approx(expected)
        assert end == 0 or found[1] < 10**-3
    assert np.log10(found) == pytest.approx([-3 - wider(0.4), -3 + wider(0.4)], abs=STEP)


def test_a_linear_ramp_is_read_in_the_lr_itself() -> None:
    lr = np.linspace(0, 1, 401)
    accuracy = normal_rise(0.5, 0.1, lr)
    base_lr, max_lr = LRCurve(lr, np.ones(401), metrics={"acc": accuracy}, ramp="linear").bounds("acc")
    half = TENTH * math.hypot(0.1, 0.025)
    assert max_lr == pytest.approx(0.5 + half, abs=0.005)
    assert base_lr == pytest.approx(max_lr / 4)  # 0.37 is no third of 0.63
    early = normal_rise(-0.7, 0.3, np.log10(np.maximum(lr, 1e-9)))
    found = LRCurve(lr, np.ones(401), metrics={"acc": early}, ramp="linear").bounds("acc")
    assert found == pytest.approx((10 ** (-0.7 - 0.3 * TENTH), 10 ** (-0.7 + 0.3 * TENTH)), abs=0.02)


# --- on a real training


def digits() -> lrs.Workload:
    train, valid = demo.digits()
    return lrs.classification(
        model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)),
        optimizer=partial(torch.optim.SGD, momentum=0.9),
        train=train,
        valid=valid,
        num_steps=160,
        eval_every=160,
        device="cpu",
    )


def test_the_bounds_of_the_validation_accuracy_train_well() -> None:
    workload = digits()
    curve = workload.range_test(0, start_lr=1e-5, end_lr=10.0, valid_batches=4)
    base_lr, max_lr = curve.bounds("valid_accuracy")
    assert 1e-4 < base_lr < max_lr / 3 < 1 / 3
    found = {}
    for factor in (1, 30):
        schedule = lrs.schedules.Triangular(base_lr * factor, max_lr * factor, step_size=20)
        found[factor] = list(lrs.train(workload, schedule, seed=1))[-1].metrics["accuracy"]
    assert found[1] > 0.9
    assert not found[30] > found[1] - 0.1
