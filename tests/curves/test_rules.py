"""Each rule against its source's own algorithm, on curves whose answer is known, under noise, and on the shortest curves."""

import math

import numpy as np
import pytest

from lr_search.curves.curve import LRCurve
from lr_search.curves.gain_crossing import gain_crossing
from lr_search.curves.rules import SIMPLE_RULES
from lr_search.errors import InvalidInputError

CENTRE, WIDTH = -2.0, 0.5  # of a dip in log10(lr)
WIDER = math.hypot(WIDTH, 0.2)  # as the smoothing leaves it
DECADE = 60  # steps
CURVATURE = 2.0  # of the quadratic whose gain ratio the curves carry


def dip(centre: float = CENTRE, *, noise: float = 0.0, seed: int = 0) -> LRCurve:
    place = np.linspace(-7, 3, 10 * DECADE + 1)
    loss = 2.3 - 1.5 * np.exp(-0.5 * ((place - centre) / WIDTH) ** 2)
    return quadratic(10**place, loss + noise * np.random.default_rng(seed).normal(size=len(place)))


def quadratic(lr: np.ndarray, loss: np.ndarray | None = None, **settings: object) -> LRCurve:
    """A curve with the gain ratio of gradient descent on a quadratic."""
    loss = np.ones(len(lr)) if loss is None else loss
    return LRCurve(lr, loss, gain_ratio=1 - np.asarray(lr) * CURVATURE / 2, **settings)


def losses(num_steps: int, seed: int) -> list[np.ndarray]:
    """Noise, a random walk, straight falls and rises, and a dip that blows up."""
    random = np.random.default_rng(seed)
    place = np.linspace(-3, 2, num_steps)
    return [
        random.normal(size=num_steps),
        np.cumsum(random.normal(size=num_steps)),
        -np.arange(num_steps),
        np.arange(num_steps),
        2 - np.exp(-(place**2)) + 0.01 * np.exp(3 * place) + 0.05 * random.normal(size=num_steps),
    ]


def assert_near(lr: float, log10_lr: float, decades: float = 1.5 / DECADE) -> None:
    assert math.log10(lr) == pytest.approx(log10_lr, abs=decades)


# --- the peers' algorithms, written as they write them


def fastai_minimum(lrs, losses):
    return lrs[int(np.argmin(losses))] / 10


def fastai_slide(lrs, losses, lr_diff=15, thresh=0.005, adjust_value=1.0):
    grad = np.gradient(losses)
    r_idx = -1
    l_idx = r_idx - lr_diff
    local_min_lr = lrs[l_idx]
    while (l_idx >= -len(losses)) and (abs(grad[r_idx] - grad[l_idx]) > thresh):
        local_min_lr = lrs[l_idx]
        r_idx -= 1
        l_idx -= 1
    return local_min_lr * adjust_value


def fastai_steep(lrs, losses):
    lrs, losses = np.array(lrs), np.array(losses)
    return lrs[((losses[1:] - losses[:-1]) / (np.log(lrs[1:]) - np.log(lrs[:-1]))).argmin()]


def fastai_valley(lrs, losses):
    n = len(losses)
    lds = [1] * n
    max_start, max_end = 0, 0
    for i in range(1, n):
        for j in range(i):
            if losses[i] < losses[j] and lds[i] < lds[j] + 1:
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    return lrs[max_start + int(sections) + int(sections / 2)]


def ignite_suggestion(lrs, losses):
    decreasing = losses[: int(np.argmin(losses)) + 1]
    if len(decreasing) < 3:
        return None  # Ignite raises an error
    grads = [0.5 * (decreasing[i + 1] - decreasing[i - 1]) for i in range(1, len(decreasing) - 1)]
    return lrs[int(np.argmin(grads)) + 1]


def surmenok_best_lr(lrs, losses, sma=20, n_skip_beginning=20, n_skip_end=5):
    derivatives = [0.0] * sma
    for i in range(sma, len(lrs)):
        derivatives.append((losses[i] - losses[i - sma]) / sma)
    return lrs[n_skip_beginning:-n_skip_end][int(np.argmin(derivatives[n_skip_beginning:-n_skip_end]))]


FASTAI = {"minimum": fastai_minimum, "slide": fastai_slide, "steep": fastai_steep, "valley": fastai_valley}


@pytest.mark.parametrize("rule", FASTAI)
@pytest.mark.parametrize("num_steps", [25, 60, 100, 257])
def test_fastai_s_rules_are_fastai_s(rule, num_steps):
    lr = np.geomspace(1e-7, 10, num_steps)
    for seed in range(10):
        for loss in losses(num_steps, seed):
            curve = LRCurve(lr, loss)
            points = slice(num_steps // 10, -5)  # as fastai's lr_find passes them to its rules
            theirs = FASTAI[rule](lr[points].tolist(), curve.smoothed[points].tolist())
            assert SIMPLE_RULES[rule](curve) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("num_steps", [2, 3, 4, 5, 6])
def test_fastai_s_rules_read_all_of_a_curve_too_short_to_trim(num_steps):
    lr = np.geomspace(1e-3, 1, num_steps)
    for seed in range(10):
        curve = LRCurve(lr, np.random.default_rng(seed).normal(size=num_steps))
        ours = {rule: SIMPLE_RULES[rule](curve) for rule in FASTAI}
        points = lr.tolist(), curve.smoothed.tolist()
        assert ours["minimum"] == pytest.approx(fastai_minimum(*points))
        assert ours["steep"] == pytest.approx(fastai_steep(*points))
        assert ours["slide"] == pytest.approx(fastai_slide(*points, lr_diff=num_steps - 1))


@pytest.mark.parametrize("num_steps", [20, 100, 257])
def test_steepest_is_ignite_s(num_steps):
    lr = np.geomspace(1e-7, 10, num_steps)
    answered = 0
    for seed in range(10):
        for loss in losses(num_steps, seed)[:2] + losses(num_steps, seed)[4:]:  # a straight line is equally steep
            curve = LRCurve(lr, loss)
            theirs = ignite_suggestion(lr.tolist(), curve.smoothed.tolist())
            if theirs is not None:
                assert SIMPLE_RULES["steepest"](curve) == theirs
                answered += 1
    assert answered > 15


@pytest.mark.parametrize("num_steps", [40, 100, 586])
def test_moving_average_is_that_of_the_first_write_up(num_steps):
    lr = np.geomspace(1e-4, 1, num_steps)
    for seed in range(10):
        for loss in losses(num_steps, seed):
            assert SIMPLE_RULES["moving_average"](LRCurve(lr, loss)) == surmenok_best_lr(lr.tolist(), loss.tolist())


# --- known answers


def test_minimum_is_a_tenth_of_the_lr_at_the_lowest_loss():
    assert_near(SIMPLE_RULES["minimum"](dip()), CENTRE - 1)


@pytest.mark.parametrize("rule", ["steep", "steepest"])
def test_the_steepest_point_is_where_the_loss_falls_fastest_per_decade(rule):
    assert_near(SIMPLE_RULES[rule](dip()), CENTRE - WIDER)  # a Gaussian's slope is steepest at one standard deviation


def test_steepest_looks_before_the_minimum_only_and_steep_everywhere():
    place = np.linspace(-7, 3, 601)
    first = 1.5 * np.exp(-0.5 * ((place + 3) / 0.5) ** 2)
    second = 1.4 * np.exp(-0.5 * ((place - 1) / 0.25) ** 2)  # steeper, and less deep
    curve = LRCurve(10**place, 2.3 - first - second)
    assert_near(SIMPLE_RULES["steepest"](curve), -3 - math.hypot(0.5, 0.2))
    assert_near(SIMPLE_RULES["steep"](curve), 1 - math.hypot(0.25, 0.2))


def test_valley_is_the_middle_of_a_straight_descent():
    place = np.linspace(-5, 0, 5 * DECADE + 1)
    loss = np.interp(place, [-5, -4, -1, 0], [2.0, 3.0, 0.0, 1.0])  # up, down from 1e-4 to 1e-1, up
    assert_near(SIMPLE_RULES["valley"](LRCurve(10**place, loss)), -2.5)


@pytest.mark.parametrize(("scale", "upper_end"), [(1, 31), (100, 29)])
def test_slide_stops_where_the_slopes_15_steps_apart_agree(scale, upper_end):
    step = np.arange(61)
    loss = -0.002 * scale * np.maximum(step - 30, 0) ** 2  # slopes: 0 to step 29, -0.001 at 30, -0.004, -0.008, ...
    curve = LRCurve(10.0 ** (step - 30), loss)  # steps of a decade: the smoothing changes nothing
    np.testing.assert_allclose(curve.smoothed, loss, rtol=1e-3, atol=1e-5 * scale)
    # where the upper end's slope is within 0.005 of 0, the interval has gone one too far
    assert SIMPLE_RULES["slide"](curve) == curve.lr[upper_end - 15 + 1]


def test_moving_average_lies_at_the_end_of_the_steepest_20_steps():
    place = np.linspace(-7, 3, 10 * DECADE + 1)
    loss = np.where(place < -2, 0.0, -np.minimum(place + 2, 20 / DECADE))  # falls over 20 steps from 1e-2
    assert_near(SIMPLE_RULES["moving_average"](LRCurve(10**place, loss)), -2 + 20 / DECADE, 1e-9)


@pytest.mark.parametrize("curvature", [1e-3, 0.5, 40.0])
def test_gain_ratio_lies_a_fixed_way_below_1_over_the_curvature(curvature):
    lr = np.geomspace(1e-3 / curvature, 1e2 / curvature, 5 * DECADE)
    curve = LRCurve(lr, np.ones(len(lr)), gain_ratio=1 - lr * curvature / 2)
    # under a Gaussian over log10 LR the mean of LR is larger by exp((0.2 ln 10)^2 / 2)
    half = math.exp(-((0.2 * math.log(10)) ** 2) / 2) / curvature
    assert gain_crossing(curve) == pytest.approx(half, rel=0.005)
    assert gain_crossing(curve, level=0.0) == pytest.approx(2 * half, rel=0.005)
    assert SIMPLE_RULES["gain_ratio"](curve) == pytest.approx(10**-0.8 * half, rel=0.005)


def test_on_a_linear_ramp_the_crossing_is_1_over_the_curvature_itself():
    assert gain_crossing(quadratic(np.linspace(0, 3 / CURVATURE, 301), ramp="linear")) == pytest.approx(
        1 / CURVATURE, rel=1e-4
    )


# --- the crossing


def with_ratio(ratio: object, start: float = -4.0) -> LRCurve:
    """A curve of 100 steps a decade over 4 decades, with this gain ratio."""
    place = np.linspace(start, start + 4, 401)
    return LRCurve(10**place, np.ones(401), gain_ratio=ratio(place) if callable(ratio) else np.asarray(ratio))


def test_a_crossing_counts_when_it_holds_for_a_fifth_of_a_decade():
    lasts = {}
    for depth in (0.33, 0.36, 0.4, 0.5, 0.8):  # of a short dip, two decades before the fall that stays
        curve = with_ratio(lambda place, depth=depth: np.where(abs(place + 2.5) < 0.1, -depth, place < -0.7))
        below = 0.01 * np.sum(curve.smoothed_gain_ratio[:250] < 0.5)  # decades
        lasts[below] = math.log10(gain_crossing(curve))
    assert min(lasts) < 0.15
    assert max(lasts) > 0.25
    for below, crossing in lasts.items():
        assert crossing == pytest.approx(-2.5 - below / 2 if below >= 0.2 else -0.7, abs=0.011)


def test_a_crossing_counts_when_it_holds_to_the_end():
    late = with_ratio(lambda place: np.where(place > -0.15, -0.2, 1.0))
    below = late.smoothed_gain_ratio < 0.5
    assert 0 < 0.01 * np.sum(below) < 0.18
    assert_near(gain_crossing(late), -0.01 * np.sum(below), 0.01)


def test_a_ratio_that_never_falls_or_was_never_measured_has_no_crossing():
    assert gain_crossing(LRCurve([0.1, 0.2], [1.0, 1.0])) is None
    assert gain_crossing(with_ratio(np.full(401, 0.9))) is None
    assert gain_crossing(with_ratio(np.full(401, np.nan))) is None
    assert gain_crossing(with_ratio(np.full(401, 0.2))) == pytest.approx(1e-4)  # below from the start
    for never in (np.full(401, 0.9), np.full(401, np.nan)):
        assert SIMPLE_RULES["gain_ratio"](with_ratio(never)) == pytest.approx(10**-0.8)  # taken for the last


def test_steps_without_a_gain_ratio_are_left_out():
    lr = np.geomspace(1e-5, 1e2, 421)
    whole, ratio = gain_crossing(quadratic(lr)), 1 - lr * CURVATURE / 2
    gone = np.random.default_rng(0).random(421) < 0.3
    gone[:120] = True  # steps too small to be told from rounding
    assert gain_crossing(LRCurve(lr, np.ones(421), gain_ratio=np.where(gone, np.nan, ratio))) == pytest.approx(
        whole, rel=0.03
    )


def test_the_level_must_be_below_that_of_a_small_step():
    for level in (1.0, 1.5, math.nan):
        with pytest.raises(InvalidInputError, match="level must be below 1"):
            gain_crossing(dip(), level)


def test_the_gain_ratio_rule_says_what_to_do_where_there_is_none():
    with pytest.raises(
        InvalidInputError, match=r"needs a curve with a gain ratio.*range_test\(\.\.\., gain_ratio=True\)"
    ):
        SIMPLE_RULES["gain_ratio"](LRCurve([0.1, 0.2], [1.0, 1.0]))


# --- what all rules keep


@pytest.mark.parametrize("rule", SIMPLE_RULES)
def test_a_rule_moves_with_the_curve(rule):
    curve = dip(noise=0.02)
    moved = LRCurve(10 * curve.lr, curve.loss, gain_ratio=curve.gain_ratio)
    assert SIMPLE_RULES[rule](moved) == pytest.approx(10 * SIMPLE_RULES[rule](curve))


@pytest.mark.parametrize("rule", sorted(set(SIMPLE_RULES) - {"slide"}))  # its threshold is in units of the loss
@pytest.mark.parametrize(("factor", "shift"), [(1.0, -500.0), (100.0, -500.0), (0.01, 3.0)])
def test_a_rule_ignores_the_scale_and_the_level_of_the_loss(rule, factor, shift):
    curve = dip(noise=0.02)
    other = LRCurve(curve.lr, factor * curve.loss + shift, gain_ratio=curve.gain_ratio)
    assert SIMPLE_RULES[rule](other) == pytest.approx(SIMPLE_RULES[rule](curve))


@pytest.mark.parametrize(
    ("rule", "low", "high"),
    [
        ("minimum", CENTRE - 1.3, CENTRE - 0.7),
        ("steep", CENTRE - 2 * WIDER, CENTRE),
        ("steepest", CENTRE - 2 * WIDER, CENTRE),
        ("valley", CENTRE - 4 * WIDER, CENTRE),
        ("moving_average", CENTRE - 2 * WIDTH, CENTRE + 20 / DECADE),
        ("gain_ratio", -0.85 - math.log10(CURVATURE), -0.8 - math.log10(CURVATURE)),
    ],
)
def test_under_noise_a_rule_still_points_into_the_descent(rule, low, high):
    for seed in range(10):
        assert low < math.log10(SIMPLE_RULES[rule](dip(noise=0.1, seed=seed))) < high


@pytest.mark.parametrize("rule", SIMPLE_RULES)
@pytest.mark.parametrize("num_steps", [*range(1, 31), 100])
def test_every_rule_gives_an_lr_of_the_ramp_or_up_to_a_tenth_of_its_first(rule, num_steps):
    for lr, ramp in (
        (np.geomspace(1e-3, 1, num_steps), "exponential"),
        (np.linspace(0.01, 1, num_steps), "linear"),
        (np.linspace(0, 1, num_steps + 1)[1 if num_steps == 1 else 0 :], "linear"),
    ):
        for loss in (*losses(len(lr), num_steps), np.zeros(len(lr)), np.full(len(lr), 2.302585)):
            curve = quadratic(lr, loss, ramp=ramp)
            found = SIMPLE_RULES[rule](curve)
            assert type(found) is float
            assert curve.first_lr / 10 * (1 - 1e-9) <= found <= lr[-1]


@pytest.mark.parametrize("rule", SIMPLE_RULES)
def test_a_ramp_of_one_step_at_lr_zero_still_gives_a_positive_lr(rule):
    assert 0 <= SIMPLE_RULES[rule](quadratic([0.0], [1.0], ramp="linear")) < 1e-300


def test_the_rules_have_these_names():
    assert set(SIMPLE_RULES) == {"minimum", "slide", "steep", "steepest", "valley", "moving_average", "gain_ratio"}
    for name, rule in SIMPLE_RULES.items():
        assert rule.__name__ == name
