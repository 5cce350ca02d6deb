"""The default rule: what must not change it, each feature by its formula, curves that tell little, its fitted numbers."""

import json
import math
import warnings
from dataclasses import replace
from importlib.resources import files
from statistics import NormalDist

import numpy as np
import pytest

from lr_search.curves import calibrated as rule
from lr_search.curves.calibrated import (
    FEATURES,
    Calibration,
    FittedLine,
    Planned,
    calibrated,
    calibrations,
    is_doubtful,
    rule_kind,
    uncertainty,
)
from lr_search.curves.curve import LRCurve
from lr_search.curves.training_plan import Plan

KERNEL = 0.2  # decades
FALL, RISE, BREAK = -4.0, 0.0, -1.0  # log10(lr) where the loss falls, rises, and where the gain ratio is 0
BEND, DROP = 0.4, 0.3  # standard deviations of the loss's two bends, and of the gain ratio's fall, in decades
WIDER_BEND, WIDER_DROP = math.hypot(BEND, KERNEL), math.hypot(DROP, KERNEL)
Z = NormalDist().inv_cdf
HALF = BREAK + Z(0.25) * WIDER_DROP  # where the gain ratio, 1 - 2 shares of a normal distribution, is 1/2
WEIGHT, PER_LR, PROMISE = 0.05, 20.0, 3.0  # rms of the weights; relative update and predicted reduction per LR
SGD = {"scaling": 1.0, "gain": 1.0, "fade": 0.0}
ADAM = {"scaling": 0.0, "gain": 0.0, "fade": 0.0}


def shares(middle: float, width: float, place: np.ndarray) -> np.ndarray:
    return np.array([NormalDist(middle, width).cdf(p) for p in place])


def curve(num_steps: int = 401, *, noise: float = 0.0, seed: int = 0, **changes) -> LRCurve:
    """A loss that falls by 1 and rises by 1, a gain ratio from 1 to -1, and a step's sizes in proportion to its LR."""
    place = np.linspace(-7, 1, num_steps)
    lr = 10**place
    loss = 2.3 - shares(FALL, BEND, place) + shares(RISE, BEND, place)
    loss = loss + noise * np.random.default_rng(seed).standard_normal(num_steps)
    ratio = 1 - 2 * shares(BREAK, DROP, place)
    metrics = {
        "predicted_reduction": PROMISE * lr,
        "reduction": ratio * PROMISE * lr,
        "relative_update": PER_LR * lr,
        "rms_update": WEIGHT * PER_LR * lr,
        "gradient_norm": np.full(num_steps, math.sqrt(PROMISE)),
    }
    return LRCurve(**({"lr": lr, "loss": loss, "gain_ratio": ratio, "metrics": metrics, "optimizer": SGD} | changes))


def measured(one: LRCurve, **changes: np.ndarray) -> LRCurve:
    return replace(one, metrics={**one.metrics, **changes})


def place_of(one: LRCurve) -> float:
    return math.log10(calibrated(one))


# --- what must not change it


@pytest.mark.parametrize("optimizer", [SGD, ADAM, {}])
@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("unit", [1e-4, 7.0, 1e5])
def test_the_unit_of_the_loss_changes_nothing(optimizer, noise, unit):
    one = curve(noise=noise, optimizer=optimizer)
    scaled = {name: unit * one.metrics[name] for name in ("reduction", "predicted_reduction", "gradient_norm")}
    other = measured(replace(one, loss=unit * one.loss), **scaled)
    assert place_of(other) == pytest.approx(place_of(one), abs=1e-6)
    assert is_doubtful(other) == is_doubtful(one)
    for name, feature in FEATURES.items():
        assert feature(other) == pytest.approx(feature(one), abs=1e-6), name


@pytest.mark.parametrize("level", [-2.3, 100.0])
def test_the_level_of_the_loss_changes_nothing(level):
    one = curve(noise=0.05)
    assert place_of(replace(one, loss=one.loss + level)) == pytest.approx(place_of(one), abs=1e-6)


@pytest.mark.parametrize("optimizer", [SGD, ADAM, {}])
@pytest.mark.parametrize("ratio", [True, False])
@pytest.mark.parametrize("factor", [1e-3, 0.1, 30.0])
def test_a_ramp_of_other_lrs_for_the_same_steps_shifts_it_by_as_much(optimizer, ratio, factor):
    one = curve(noise=0.02, optimizer=optimizer)
    one = one if ratio else replace(one, gain_ratio=None)
    other = replace(one, lr=factor * one.lr)
    assert place_of(other) == pytest.approx(place_of(one) + math.log10(factor), abs=1e-6)
    assert uncertainty(other) == uncertainty(one)


@pytest.mark.parametrize("optimizer", [SGD, ADAM])
@pytest.mark.parametrize("ratio", [True, False])
def test_more_steps_of_the_same_ramp_hardly_move_it(optimizer, ratio):
    found = []
    for num_steps in (50, 100, 200, 400):
        one = curve(num_steps, optimizer=optimizer)
        found.append(place_of(one if ratio else replace(one, gain_ratio=None)))
    assert max(found) - min(found) < 0.1


def test_batch_noise_moves_it_little():
    found = [place_of(curve(100, noise=0.05, seed=seed)) for seed in range(10)]
    assert max(found) - min(found) < 0.3
    assert np.mean(found) == pytest.approx(place_of(curve(100)), abs=0.15)


# --- where it starts from


def test_it_starts_where_steps_lose_half_their_promise():
    assert rule.anchor(curve()) == pytest.approx(HALF, abs=0.02)


def test_without_a_gain_ratio_it_starts_where_the_descent_is_undone():
    undone = RISE + Z(0.9) * WIDER_BEND
    for ratio in (None, np.full(401, np.nan)):
        assert rule.anchor(curve(gain_ratio=ratio)) == pytest.approx(undone, abs=0.02)
    assert rule.anchor(curve(gain_ratio=np.ones(401), metrics={})) == pytest.approx(undone, abs=0.02)  # it never falls


def test_the_kind_is_gain_where_any_gain_ratio_is_known():
    some = np.full(401, np.nan)
    some[200] = 0.9
    kinds = [rule_kind(curve(gain_ratio=ratio)) for ratio in (np.ones(401), some, np.full(401, np.nan), None)]
    assert kinds == ["gain", "gain", "loss", "loss"]


# --- each feature by its formula


def test_room_is_from_half_the_promise_to_the_descent_undone():
    assert rule.room(curve()) == pytest.approx(RISE + Z(0.9) * WIDER_BEND - HALF, abs=0.03)
    assert rule.room(curve(gain_ratio=None)) == 0
    assert rule.room(curve(gain_ratio=np.full(401, -1.0), metrics={})) == rule.MOST_DECADES  # broken from the start


def test_fall_and_edge_are_the_decades_from_nine_tenths_over_a_half_to_zero():
    assert rule.fall(curve()) == pytest.approx((Z(0.25) - Z(0.05)) * WIDER_DROP, abs=0.02)
    assert rule.edge(curve()) == pytest.approx(-Z(0.25) * WIDER_DROP, abs=0.02)
    assert rule.fall(curve(gain_ratio=np.ones(401), metrics={})) == 0
    positive = 1 - 0.9 * shares(BREAK, DROP, np.linspace(-7, 1, 401))
    assert rule.edge(curve(gain_ratio=positive, metrics={})) == 0.4
    assert (rule.fall(curve(gain_ratio=None)), rule.edge(curve(gain_ratio=None))) == (0, 0.4)


def test_lowest_is_from_half_the_promise_to_the_lowest_loss():
    assert rule.lowest(curve()) == pytest.approx((FALL + RISE) / 2 - HALF, abs=0.03)
    assert rule.lowest(curve(loss=np.full(401, 2.3))) == 0


def test_flat_is_whether_no_descent_stands_out():
    assert [rule.flat(curve()), rule.flat(curve(loss=np.full(401, 2.3)))] == [0.0, 1.0]


def test_weight_size_is_that_of_the_weights():
    assert rule.weight_size(curve()) == pytest.approx(math.log10(WEIGHT))
    one = curve()
    for factor, expected in ((1e3, 1.0), (1e-9, -4.0)):
        changed = measured(one, rms_update=one.metrics["rms_update"] * factor)
        assert rule.weight_size(changed) == expected
    assert rule.weight_size(measured(one, relative_update=np.full(401, np.inf))) == -4.0  # they begin at zero
    assert rule.weight_size(curve(metrics={})) == -1.0  # not known


def test_weights_begin_at_zero_where_they_are_a_hundredth_or_less():
    one = curve()
    found = [
        FEATURES["from_zero"](measured(one, rms_update=size / WEIGHT * one.metrics["rms_update"]))
        for size in (1.0, 0.011, 0.009, 1e-6)
    ]
    assert found == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (SGD, (1.0, 1.0, 0.0)),
        (ADAM, (0.0, 0.0, 0.0)),
        ({"scaling": 1.0, "gain": math.log10(2), "fade": 0.0}, (1.0, math.log10(2), 0.0)),
        ({"scaling": 0.0, "gain": -1.0, "fade": -0.5}, (0.0, 0.0, -0.5)),
        ({"scaling": 3.0, "gain": 9.0, "fade": 9.0}, (1.0, 2.0, 0.3)),
        ({"scaling": -1.0, "gain": -3.0, "fade": -3.0}, (0.0, 0.0, -0.5)),
        ({}, (0.5, 0.0, 0.0)),
    ],
)
def test_scaling_momentum_and_fading_are_the_optimizers(optimizer, expected):
    one = curve(optimizer=optimizer)
    assert (rule.scaling(one), rule.momentum(one), rule.fading(one)) == pytest.approx(expected)


UPDATES = {  # name -> its share for a power of the gradient, its limit in decades
    "adaptive_update": (lambda scaling: 1 - scaling, 2.0),
    "plain_update": (lambda scaling: scaling, 1.0),
}


@pytest.mark.parametrize("name", sorted(UPDATES.keys() & FEATURES.keys()))
@pytest.mark.parametrize("scaling", [0.0, 0.25, 1.0])
def test_updates_are_those_at_half_the_promise_from_the_usual_one(name, scaling):
    one = curve(optimizer={"scaling": scaling})
    share, limit = UPDATES[name][0](scaling), UPDATES[name][1]
    for factor in (1e-9, 0.1, 1.0, 1e9):
        changed = measured(one, relative_update=factor * one.metrics["relative_update"])
        # all steps of the smallest drown in rounding: then all before the break are read
        expected = np.clip(math.log10(factor * PER_LR) + HALF + 1.3, -limit, limit)
        assert FEATURES[name](changed) == pytest.approx(share * expected, abs=0.02)
    for unknown in (np.full(401, np.inf), np.full(401, np.nan), np.zeros(401)):
        assert FEATURES[name](measured(one, relative_update=unknown)) == 0


def test_overshoot_is_the_promise_of_one_step_over_the_whole_descent():
    one = curve()
    assert rule.overshoot(one) == pytest.approx(max(0.0, math.log10(PROMISE / 1.0) + HALF), abs=0.02)
    more = {name: 1000 * one.metrics[name] for name in ("predicted_reduction", "reduction")}
    assert rule.overshoot(measured(one, **more)) == pytest.approx(math.log10(1000 * PROMISE) + HALF, abs=0.02)
    less = {name: 0.1 * one.metrics[name] for name in ("predicted_reduction", "reduction")}
    assert rule.overshoot(measured(one, **less)) == 0
    assert rule.overshoot(curve(metrics={})) == 0


@pytest.mark.parametrize("per_lr", [PER_LR, 0.2])  # of the second a fifth of the steps drown in rounding
def test_sizes_are_read_before_the_break_after_the_first_steps_and_above_rounding(per_lr):
    one = curve(101)
    relative = per_lr * one.lr
    read = (np.arange(101) >= 8) & (relative > 1e-6) & (np.log10(one.lr) < HALF)
    sizes = 10 ** np.random.default_rng(0).uniform(-1, 1, 101)
    changed = measured(one, relative_update=relative, rms_update=per_lr * one.lr * np.where(read, sizes, 1e6))
    assert rule.weight_size(changed) == pytest.approx(math.log10(np.median(sizes[read])))


def test_the_line_is_a_constant_and_weighted_features():
    line = FittedLine(-1.0, {"room": 0.5, "flat": 3.0})
    assert line(curve()) == pytest.approx(-1.0 + 0.5 * rule.room(curve()))


# --- curves that tell little

ODD = {
    "no metrics": lambda one: replace(one, metrics={}),
    "no gain ratio": lambda one: replace(one, gain_ratio=None, metrics={}),
    "gain ratio unknown": lambda one: replace(one, gain_ratio=np.full(len(one.lr), np.nan)),
    "gain ratio known once": lambda one: replace(
        one, gain_ratio=np.where(np.arange(len(one.lr)) == len(one.lr) // 2, 0.3, np.nan)
    ),
    "broken at once": lambda one: replace(one, gain_ratio=np.full(len(one.lr), -5.0), metrics={}),
    "weights of zero": lambda one: measured(one, relative_update=np.full(len(one.lr), np.inf)),
    "weights of zero at first": lambda one: measured(
        one, relative_update=np.where(np.arange(len(one.lr)) == 0, np.inf, one.metrics["relative_update"])
    ),
    "no step at all": lambda one: measured(one, **{name: np.zeros(len(one.lr)) for name in one.metrics}),
    "nothing known": lambda one: measured(one, **{name: np.full(len(one.lr), np.nan) for name in one.metrics}),
    "promises against": lambda one: measured(one, predicted_reduction=-one.metrics["predicted_reduction"]),
    "flat": lambda one: replace(one, loss=np.full(len(one.lr), 2.3)),
    "loss of zero": lambda one: replace(one, loss=np.zeros(len(one.lr))),
    "loss of noise": lambda one: replace(one, loss=np.random.default_rng(0).standard_normal(len(one.lr))),
    "falls on": lambda one: replace(one, loss=-np.log10(one.lr)),
    "rises": lambda one: replace(one, loss=one.lr * 1e30, stopped="diverged"),
    "unknown optimizer": lambda one: replace(one, optimizer={}),
    "linear from zero": lambda one: replace(one, lr=np.linspace(0, 1, len(one.lr) + 1)[:-1], ramp="linear"),
    "linear": lambda one: replace(one, lr=np.linspace(0.01, 1, len(one.lr)), ramp="linear"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("optimizer", [SGD, ADAM, {}])
def test_it_answers_on_every_curve_and_stays_near_the_ramp(name, optimizer):
    for num_steps in (*range(1, 21), 100):
        if name == "linear from zero" and num_steps == 1:
            continue  # a single LR, of 0
        one = ODD[name](curve(num_steps, optimizer=optimizer))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lr, std, doubtful = calibrated(one), uncertainty(one), is_doubtful(one)
            values = {feature: FEATURES[feature](one) for feature in FEATURES}
        first = one.lr[one.lr > 0][0]
        assert first / 10 * (1 - 1e-9) <= lr <= 10 * one.lr[-1] * (1 + 1e-9), num_steps
        assert std > 0
        assert isinstance(doubtful, bool)
        assert all(math.isfinite(value) for value in values.values()), (num_steps, values)


def test_it_is_kept_within_a_decade_of_the_ramp(monkeypatch):
    for constant, expected in ((-30.0, 1e-8), (30.0, 100.0)):
        fitted = {kind: replace(each, offset=FittedLine(constant, {})) for kind, each in calibrations().items()}
        with monkeypatch.context() as patched:
            patched.setattr(rule, "calibrations", lambda fitted=fitted: fitted)
            assert calibrated(curve()) == pytest.approx(expected)


# --- its fitted numbers


def test_the_fitted_numbers_come_with_the_package_and_name_known_features():
    record = json.loads(files("lr_search.curves").joinpath("calibration.json").read_text())
    assert set(record) == {"gain", "loss"}
    used = set()
    for kind in record.values():
        assert set(kind) == {"offset", "regret", "noisy", "planned"}
        planned = kind["planned"]
        assert set(planned["shifts"]) == {"constant", "wsd", "cosine", "one_cycle"}
        numbers = [kind["noisy"], planned["log10_std"], planned["flat_log10_std"], planned["skew"]]
        assert all(number > 0 for number in numbers)
        numbers += [*planned["shifts"].values(), planned["adaptive"], planned["repeated"]]
        for line in (kind["offset"], kind["regret"]):
            used |= set(line["weights"])
            numbers += [line["constant"], *line["weights"].values()]
        assert all(math.isfinite(number) for number in numbers)
    assert used <= set(FEATURES)


def test_the_rule_is_what_the_fitted_numbers_say():
    record = json.loads(files("lr_search.curves").joinpath("calibration.json").read_text())
    for kind, one in (("gain", curve()), ("loss", curve(gain_ratio=None))):
        line = record[kind]["offset"]
        offset = line["constant"] + sum(weight * FEATURES[name](one) for name, weight in line["weights"].items())
        shift = record[kind]["planned"]["shifts"]["cosine"]  # no plan: 1,000 steps of a decaying schedule
        assert place_of(one) == pytest.approx(rule.anchor(one) + offset + shift)
        adam = curve(optimizer=ADAM, gain_ratio=one.gain_ratio)
        shifted = shift + record[kind]["planned"]["adaptive"]
        assert place_of(adam) == pytest.approx(rule.unplanned(adam) + shifted)


SHIFTS = {"constant": -0.3, "wsd": -0.2, "cosine": 0.1, "one_cycle": 0.2}
PLANNED = Planned(SHIFTS, adaptive=-0.4, repeated=-0.2, log10_std=0.5, flat_log10_std=0.9, skew=0.2)
FLAT = {"loss": np.full(401, 2.3)}


def fitted_so(monkeypatch, planned):
    fitted = {kind: replace(each, planned=planned) for kind, each in calibrations().items()}
    monkeypatch.setattr(rule, "calibrations", lambda: fitted)


@pytest.mark.parametrize(
    ("plan", "decades"),
    [
        (None, 0.1),
        (Plan(), 0.1),
        (Plan(schedule="cosine"), 0.1),
        (Plan(schedule="sgdr"), 0.1),  # what was not fitted decays as a cosine does
        (Plan(schedule="one_cycle"), 0.2),
        (Plan(schedule="constant"), -0.3),
        (Plan(schedule="plateau"), -0.3),
        (Plan(10_000, "constant", steps_per_epoch=10_000), -0.3),
        (Plan(900, "constant", steps_per_epoch=100), -0.3 - 0.2 * math.log10(3) * math.log10(3)),
        (Plan(300, "constant", steps_per_epoch=10), -0.3),  # too short to learn by heart
        (
            Plan(10_000, "constant", steps_per_epoch=200),
            -0.3 - 0.2 * math.log10(50 / 3),
        ),  # as long as was trained, not beyond
        (Plan(10_000, "wsd", batch_size=50, examples=10_000), -0.2 - 0.2 * math.log10(50 / 3)),
        (Plan(10_000, "cosine", steps_per_epoch=200), 0.1),  # whose LR has long fallen by then
        (Plan(10**6, "constant", steps_per_epoch=10), -0.3 - 0.2 * math.log10(100 / 3)),  # not beyond what was trained
    ],
)
def test_where_it_points_is_shifted_by_the_plan(monkeypatch, plan, decades):
    fitted_so(monkeypatch, PLANNED)
    one = curve(plan=plan)
    assert place_of(one) - rule.unplanned(one) == pytest.approx(decades)
    assert (uncertainty(one), rule.lopsided(one)) == (0.5, 0.2)
    for change, more in (({"optimizer": ADAM}, -0.4), ({"optimizer": {}}, -0.2), (FLAT, 0.0)):
        other = curve(plan=plan, **change)
        assert place_of(other) - rule.unplanned(other) == pytest.approx(decades + more)
    one = curve(plan=plan, **FLAT)
    assert (uncertainty(one), rule.lopsided(one)) == (0.9, 0.0)


def test_a_momentum_that_the_schedule_adds_is_taken_off(monkeypatch):
    fitted_so(monkeypatch, PLANNED)
    for schedule, decades in (("one_cycle", -1.0), ("cosine", 0.0)):
        plain, cycled = (curve(plan=Plan(schedule=schedule), optimizer={**SGD, "cycled": by}) for by in (0.0, 1.0))
        assert place_of(cycled) - place_of(plain) == pytest.approx(decades)


def test_suggestions_for_decaying_schedules_stay_where_they_were():
    """By hand from calibration.json: a change of the constants is to be seen here."""
    record = json.loads(files("lr_search.curves").joinpath("calibration.json").read_text())["gain"]["planned"]
    for optimizer, adaptive in ((SGD, 0.0), (ADAM, 1.0)):
        one = curve(optimizer=optimizer)
        for schedule, expected in (("cosine", 0.0375), ("linear", 0.0375), ("sgdr", 0.0375), ("one_cycle", 0.225)):
            planned = replace(one, plan=Plan(1000, schedule))
            assert place_of(planned) - rule.unplanned(one) == pytest.approx(expected + adaptive * record["adaptive"])
    assert record["adaptive"] == pytest.approx(-0.35)


def test_it_is_doubtful_where_much_is_expected_to_be_lost(monkeypatch):
    line = FittedLine(0.0, {"momentum": 0.1})  # 0.1 for a momentum of 0.9
    gain = Calibration(FittedLine(0.0, {}), line, noisy=0.05, planned=PLANNED)
    loss = Calibration(FittedLine(0.0, {}), line, noisy=0.2, planned=PLANNED)
    monkeypatch.setattr(rule, "calibrations", lambda: {"gain": gain, "loss": loss})
    assert [is_doubtful(curve()), is_doubtful(curve(optimizer=ADAM))] == [True, False]
    assert not is_doubtful(curve(gain_ratio=None))
