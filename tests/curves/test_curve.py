"""LRCurve: what it takes, how it smooths, where it bends, what it is written as."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lr_search.curves.curve import LRCurve
from lr_search.errors import InvalidInputError, OutputError

CENTRE, WIDTH, DEPTH, LEVEL = -2.0, 0.5, 1.5, 2.3  # of a dip in log10(lr)
KERNEL = 0.2  # decades
WIDER = math.hypot(WIDTH, KERNEL)  # a Gaussian under a Gaussian kernel is a wider and shallower Gaussian
SHALLOWER = DEPTH * WIDTH / WIDER


def dip(num_steps: int = 601) -> LRCurve:
    place = np.linspace(-7, 3, num_steps)
    return LRCurve(10**place, LEVEL - DEPTH * np.exp(-0.5 * ((place - CENTRE) / WIDTH) ** 2))


# --- what it takes


def test_lists_become_arrays_of_floats() -> None:
    curve = LRCurve([1, 2, 3], [3, 2, 1], gain_ratio=[1, 1, 0.5], metrics={"norm": [4.0, 5.0, 6.0]})
    assert all(a.dtype == np.float64 for a in (curve.lr, curve.loss, curve.gain_ratio))
    assert curve.metrics["norm"].tolist() == [4.0, 5.0, 6.0]
    assert (curve.stopped, curve.num_steps, curve.ramp) == ("finished", 3, "exponential")


def test_a_linear_ramp_may_start_at_zero() -> None:
    assert LRCurve([0.0, 0.1, 0.2], [3, 2, 1], ramp="linear").lr[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": [], "loss": []}, "lr must hold at least one step, but got shape=(0,)"),
        ({"lr": [[1.0]], "loss": [[1.0]]}, "lr must hold at least one step, but got shape=(1, 1)"),
        ({"lr": [1, 2]}, "lr and loss must be equally long, but got lr=(2,), loss=(3,)"),
        ({"loss": [1, np.nan, 1]}, "lr and loss must be finite"),
        ({"loss": [1, 2, np.inf]}, "lr and loss must be finite"),
        ({"lr": [1, 2, np.inf]}, "lr and loss must be finite"),
        ({"lr": [1, 3, 2]}, "lr must rise from step to step"),
        ({"lr": [1, 2, 2]}, "lr must rise from step to step"),
        ({"lr": [-1, 2, 3]}, "lr must rise from step to step, and be positive"),
        ({"gain_ratio": [1.0]}, "gain_ratio must be as long as lr, but got gain_ratio=(1,), lr=(3,)"),
        ({"metrics": {"norm": [1.0, 2.0]}}, "norm must be as long as lr, but got norm=(2,), lr=(3,)"),
        ({"stopped": "tired"}, "but got 'tired'"),
        ({"ramp": "steep"}, "ramp must be 'exponential' or 'linear', but got 'steep'"),
    ],
)
def test_what_is_no_curve_is_an_error_that_says_why(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        LRCurve(**({"lr": [1.0, 2.0, 3.0], "loss": [3.0, 2.0, 1.0]} | arguments))
    assert message in str(error.value)


def test_another_program_s_curve_is_cut_off_where_its_loss_is_not_finite() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        curve = LRCurve.from_arrays([1, 2, 3, 4], [3.0, 2.0, bad, 1.0])
        assert curve.lr.tolist() == [1, 2]
        assert curve.loss.tolist() == [3, 2]
        assert curve.stopped == "non_finite"
        assert curve.num_steps == 3  # the step that led to the bad loss was taken


def test_another_program_s_finite_curve_is_kept_whole() -> None:
    curve = LRCurve.from_arrays([1, 2, 3], [3, 2, 1])
    assert (curve.lr.tolist(), curve.loss.tolist()) == ([1, 2, 3], [3, 2, 1])
    assert (curve.stopped, curve.num_steps) == ("finished", 3)


@pytest.mark.parametrize(
    ("lr", "loss", "message"),
    [
        ([1, 2], [np.nan, 1.0], "the first loss must be finite, but got loss=nan"),
        ([1, 2], [1.0, 2.0, np.nan], "lr and loss must be equally long"),
        ([1, 2, 3], [1.0, np.nan], "lr and loss must be equally long"),
        ([], [], "lr must hold at least one step"),
    ],
)
def test_another_program_s_arrays_are_checked(lr: list[float], loss: list[float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        LRCurve.from_arrays(lr, loss)


# --- how it smooths


def test_smoothing_is_a_gaussian_over_decades() -> None:
    curve = dip()
    place = np.log10(curve.lr)
    expected = LEVEL - SHALLOWER * np.exp(-0.5 * ((place - CENTRE) / WIDER) ** 2)
    np.testing.assert_allclose(curve.smoothed, expected, atol=1e-6)


def test_the_slope_is_the_derivative_by_decades() -> None:
    curve = dip()
    z = (np.log10(curve.lr) - CENTRE) / WIDER
    np.testing.assert_allclose(curve.slope, SHALLOWER / WIDER * z * np.exp(-0.5 * z**2), atol=1e-3)


def test_the_smoothing_and_slope_of_a_linear_ramp_are_by_lr() -> None:
    lr = np.linspace(0, 2, 801)
    width, kernel = 0.1, 0.025 * 2
    wider = math.hypot(width, kernel)
    curve = LRCurve(lr, 1 - np.exp(-0.5 * ((lr - 1) / width) ** 2), ramp="linear")
    z = (lr - 1) / wider
    np.testing.assert_allclose(curve.smoothed, 1 - width / wider * np.exp(-0.5 * z**2), atol=1e-6)
    np.testing.assert_allclose(curve.slope, width / wider**2 * z * np.exp(-0.5 * z**2), atol=1e-3)


def test_smoothing_has_no_lag() -> None:
    for half in (3, 20, 150):
        place = np.arange(-half, half + 1) / 50
        loss = np.abs(place)  # a V, lowest in the middle
        smoothed = LRCurve(10**place, loss).smoothed
        assert int(np.argmin(smoothed)) == half
        np.testing.assert_allclose(smoothed, smoothed[::-1], atol=1e-12)


def test_smoothing_leaves_a_constant_alone_and_keeps_the_order_of_losses_shifted_or_scaled() -> None:
    np.testing.assert_allclose(LRCurve(np.geomspace(1e-5, 1, 50), np.full(50, 0.7)).smoothed, 0.7)
    curve = dip(101)
    shifted = LRCurve(curve.lr, 3 * curve.loss - 50)
    np.testing.assert_allclose(shifted.smoothed, 3 * curve.smoothed - 50, atol=1e-9)


def test_smoothing_halves_the_noise_of_a_ramp_many_times_over() -> None:
    noise = np.random.default_rng(0).normal(size=1000)
    smoothed = LRCurve(np.geomspace(1e-5, 1e5, 1000), 5 + 0.1 * noise).smoothed
    # 100 steps a decade under a Gaussian of 20 steps: the variance falls by 2 sqrt(pi) 20 = 71
    assert smoothed.std() == pytest.approx(0.1 / math.sqrt(71), rel=0.3)


def test_a_blow_up_does_not_outweigh_what_is_near_it() -> None:
    curve = dip()
    blown = curve.loss.copy()
    blown[500:] = 1e12
    lowest = int(np.argmin(LRCurve(curve.lr, blown).smoothed))
    assert lowest == int(np.argmin(curve.smoothed))
    assert LRCurve(curve.lr, blown).smoothed.max() < LEVEL + 2 * DEPTH


def test_the_start_the_descent_and_the_noise_are_those_of_the_curve() -> None:
    curve = dip()
    assert curve.start == pytest.approx(LEVEL)
    assert curve.descent == pytest.approx(SHALLOWER, rel=1e-4)
    rough = LRCurve(curve.lr, LEVEL + 0.3 * np.random.default_rng(1).normal(size=len(curve.lr)))
    assert rough.noise == pytest.approx(0.3, rel=0.15)
    rising = LRCurve(curve.lr, np.linspace(1, 2, len(curve.lr)))
    assert 0 <= rising.descent < 0.06  # the median of the first tenth lies a twentieth up


def test_bounds_are_where_a_tenth_and_nine_tenths_of_the_descent_are_done() -> None:
    base_lr, max_lr = dip(2001).bounds()
    # exp(-z^2 / 2) is a tenth, and nine tenths, of its top
    assert math.log10(base_lr) == pytest.approx(CENTRE - WIDER * math.sqrt(2 * math.log(10)), abs=0.01)
    assert math.log10(max_lr) == pytest.approx(CENTRE - WIDER * math.sqrt(2 * math.log(1 / 0.9)), abs=0.01)


def test_bounds_are_a_factor_of_four_where_only_the_upper_is_clear() -> None:
    lr = np.linspace(0, 1, 1001)
    base_lr, max_lr = LRCurve(lr, np.where(lr < 0.1, 2.0, 0.5), ramp="linear").bounds()
    # a cliff under a Gaussian of 0.025 is nine tenths down 1.2816 of its standard deviations later
    assert max_lr == pytest.approx(0.1 + 1.2816 * 0.025, abs=0.003)
    assert base_lr == pytest.approx(max_lr / 4)


def test_bounds_are_positive_and_ordered_on_any_curve() -> None:
    random = np.random.default_rng(0)
    for num_steps in (1, 2, 3, 10, 100):
        for lr in (np.geomspace(1e-6, 1, num_steps), np.linspace(0, 1, num_steps)):
            for loss in (
                np.ones(num_steps),
                np.arange(num_steps),
                -np.arange(num_steps),
                random.normal(size=num_steps),
            ):
                base_lr, max_lr = LRCurve(lr, loss, ramp="linear" if lr[0] == 0 else "exponential").bounds()
                assert 0 < base_lr < max_lr <= 1


# --- what it is written as


def full_curve() -> LRCurve:
    random = np.random.default_rng(3)
    return LRCurve(
        lr=np.geomspace(1e-7, 1 / 3, 50),
        loss=random.normal(size=50) * 1e-3 + 1 / 7,
        gain_ratio=random.random(50),
        metrics={"norm": random.random(50) * 1e17, "step": np.arange(50)},
        stopped="diverged",
        num_steps=57,
    )


def assert_same(one: LRCurve, other: LRCurve) -> None:
    for name in ("lr", "loss", "gain_ratio", "smoothed", "slope"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)
    assert (one.stopped, one.num_steps, one.ramp) == (other.stopped, other.num_steps, other.ramp)
    assert one.metrics.keys() == other.metrics.keys()
    for name, values in one.metrics.items():
        np.testing.assert_array_equal(values, other.metrics[name], strict=True)


def test_json_gives_the_curve_back_to_the_last_bit() -> None:
    assert_same(LRCurve.from_json(json.loads(json.dumps(full_curve().to_json()))), full_curve())


def test_a_file_gives_the_curve_back_to_the_last_bit(tmp_path: Path) -> None:
    full_curve().save(tmp_path / "curve.json")
    assert_same(LRCurve.load(str(tmp_path / "curve.json")), full_curve())


def test_a_curve_without_gain_ratio_is_written_without(tmp_path: Path) -> None:
    LRCurve([0.0, 1.0], [2.0, 1.0], ramp="linear").save(tmp_path / "curve.json")
    loaded = LRCurve.load(tmp_path / "curve.json")
    assert loaded.gain_ratio is None
    assert (loaded.ramp, loaded.lr.tolist()) == ("linear", [0.0, 1.0])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "gain_ratio": 1}']
)
def test_a_file_that_is_no_curve_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=r"path must be a file that LRCurve\.save wrote, but got .*other\.json"):
        LRCurve.load(path)


def test_a_file_that_is_not_there_or_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"path must be a file that LRCurve\.save wrote"):
        LRCurve.load(tmp_path / "none.json")
    with pytest.raises(OutputError, match="must go to a file that can be written"):
        full_curve().save(tmp_path / "none" / "curve.json")


def test_a_frame_has_a_row_a_step() -> None:
    curve = full_curve()
    frame = curve.to_frame()
    assert list(frame.columns) == ["step", "lr", "loss", "smoothed", "slope", "gain_ratio", "norm"]
    assert len(frame) == 50
    for name in ("lr", "loss", "smoothed", "slope", "gain_ratio"):
        np.testing.assert_array_equal(frame[name], getattr(curve, name))
    assert "gain_ratio" not in LRCurve([1.0], [1.0]).to_frame()
