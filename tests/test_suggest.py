"""The rules on curves whose answer is known, each status, and what a suggestion says."""

import math

import numpy as np
import pytest

from lr_search.curve import LRCurve
from lr_search.errors import UnknownNameError
from lr_search.suggest import DEFAULT_RULE, LOG10_STD, RULES, Suggestion, judge, suggest

CENTRE, WIDTH = -2.0, 0.5  # of a dip in log10(lr)
WIDER = math.hypot(WIDTH, 0.2)  # as the smoothing leaves it
DECADE = 60  # steps


def dip(centre: float = CENTRE, *, noise: float = 0.0, seed: int = 0) -> LRCurve:
    place = np.linspace(-7, 3, 10 * DECADE + 1)
    loss = 2.3 - 1.5 * np.exp(-0.5 * ((place - centre) / WIDTH) ** 2)
    return LRCurve(10**place, loss + noise * np.random.default_rng(seed).normal(size=len(place)))


def noisy(num_steps: int = 100, seed: int = 0, **settings: object) -> LRCurve:
    """No descent at all."""
    random = np.random.default_rng(seed)
    return LRCurve(np.geomspace(1e-7, 10, num_steps), 2.3 + 0.1 * random.normal(size=num_steps), **settings)


def assert_near(lr: float, log10_lr: float, decades: float = 1.5 / DECADE) -> None:
    assert math.log10(lr) == pytest.approx(log10_lr, abs=decades)


# --- rules


def test_minimum_is_a_tenth_of_the_lr_at_the_lowest_loss() -> None:
    assert_near(RULES["minimum"](dip()), CENTRE - 1)


def test_steepest_is_where_the_loss_falls_fastest_per_decade() -> None:
    assert_near(RULES["steepest"](dip()), CENTRE - WIDER)  # a Gaussian's slope is steepest at one standard deviation


def test_steepest_looks_before_the_minimum_only() -> None:
    place = np.linspace(-7, 3, 601)
    first = 1.5 * np.exp(-0.5 * ((place + 3) / 0.5) ** 2)
    second = 1.4 * np.exp(-0.5 * ((place - 1) / 0.25) ** 2)  # steeper, and less deep
    assert_near(RULES["steepest"](LRCurve(10**place, 2.3 - first - second)), -3 - math.hypot(0.5, 0.2))


def fastai_valley(lrs: list[float], losses: list[float]) -> float:
    """fastai's `valley` (fastai/callback/schedule.py), with a start before the curve moved to its first step."""
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
    max_start = max(0, max_start)
    sections = (max_end - max_start) / 3
    return lrs[max_start + int(sections) + int(sections / 2)]


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 7, 30, 100])
def test_valley_is_fastai_s(num_steps: int) -> None:
    lr = np.geomspace(1e-7, 10, num_steps)
    for seed in range(12):
        random = np.random.default_rng(seed)
        for loss in (random.normal(size=num_steps), np.cumsum(random.normal(size=num_steps)), -np.arange(num_steps)):
            curve = LRCurve(lr, loss)
            assert RULES["valley"](curve) == fastai_valley(lr.tolist(), curve.smoothed.tolist())


def test_valley_is_the_middle_of_a_straight_descent() -> None:
    place = np.linspace(-5, 0, 5 * DECADE + 1)
    loss = np.interp(place, [-5, -4, -1, 0], [2.0, 3.0, 0.0, 1.0])  # up, down from 1e-4 to 1e-1, up
    assert_near(RULES["valley"](LRCurve(10**place, loss)), -2.5)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_moves_with_the_curve_and_ignores_the_scale_of_the_loss(rule: str) -> None:
    curve = dip(noise=0.02)
    lr = RULES[rule](curve)
    assert RULES[rule](LRCurve(10 * curve.lr, curve.loss)) == pytest.approx(10 * lr)
    assert RULES[rule](LRCurve(curve.lr, 100 * curve.loss - 500)) == pytest.approx(lr)


@pytest.mark.parametrize(
    ("rule", "low", "high"),
    [
        ("minimum", CENTRE - 1.3, CENTRE - 0.7),
        ("steepest", CENTRE - 2 * WIDER, CENTRE),
        ("valley", CENTRE - 4 * WIDER, CENTRE),
    ],
)
def test_under_noise_a_rule_still_points_into_the_descent(rule: str, low: float, high: float) -> None:
    for seed in range(10):
        assert low < math.log10(RULES[rule](dip(noise=0.1, seed=seed))) < high


# --- statuses


def test_a_clear_descent_and_rise_is_ok() -> None:
    suggestion = dip(noise=0.05).suggest()
    assert suggestion.status == "ok"
    assert "rose again by 1e+03" in suggestion.reason


@pytest.mark.parametrize(("stopped", "words"), [("diverged", "blew up"), ("non_finite", "became non-finite")])
def test_a_clear_descent_that_was_cut_off_is_ok_too(stopped: str, words: str) -> None:
    whole = dip(noise=0.05)
    suggestion = LRCurve(whole.lr[:400], whole.loss[:400], stopped=stopped).suggest()
    assert suggestion.status == "ok"
    assert words in suggestion.reason


def test_noise_alone_is_flat() -> None:
    for seed in range(20):
        suggestion = noisy(seed=seed).suggest()
        assert suggestion.status == "flat"
        assert "no descent stands out" in suggestion.reason


@pytest.mark.parametrize("level", [0.0, 0.7, 2.302585, -3.0])
@pytest.mark.parametrize("num_steps", [1, 2, 20, 100])
def test_a_constant_loss_is_flat(level: float, num_steps: int) -> None:
    assert suggest(LRCurve(np.geomspace(1e-7, 10, num_steps), np.full(num_steps, level))).status == "flat"


def test_a_flat_curve_that_blew_up_suggests_a_thirtieth_of_its_last_lr() -> None:
    for stopped in ("diverged", "non_finite"):
        suggestion = noisy(stopped=stopped).suggest()
        assert suggestion.status == "flat"
        assert suggestion.lr == pytest.approx(10 / 30)
        assert "A thirtieth" in suggestion.reason


def test_a_loss_that_still_falls_at_the_end_is_at_the_edge() -> None:
    whole = dip(noise=0.01)
    cut = int(np.argmin(whole.loss)) - DECADE // 2
    suggestion = LRCurve(whole.lr[:cut], whole.loss[:cut]).suggest()
    assert suggestion.status == "at_edge"
    assert f"raise end_lr above {whole.lr[cut - 1]:.3g}" in suggestion.reason


def test_a_ramp_that_begins_beyond_the_best_lr_is_at_the_edge() -> None:
    loss = np.concatenate([[0.5, 0.6, 1.0, 1.6], np.full(96, 2.3)])  # trained before; the first steps undo it
    loss += 0.01 * np.random.default_rng(0).normal(size=100)
    status, reason = judge(LRCurve(np.geomspace(0.1, 10, 100), loss))
    assert status == "at_edge"
    assert "lower start_lr below 0.1" in reason


def test_a_blow_up_in_the_first_steps_says_so_and_suggests_a_tenth_of_the_start() -> None:
    for stopped in ("diverged", "non_finite"):
        curve = LRCurve(np.geomspace(1e-2, 10, 100)[:6], [2.3, 2.3, 2.4, 9, 80, 900], stopped=stopped)
        suggestion = curve.suggest()
        assert suggestion.status == "diverged_at_start"
        assert suggestion.lr == pytest.approx(1e-3)
        assert "after 6 steps: lower start_lr below 0.01" in suggestion.reason


def test_a_linear_ramp_from_zero_never_suggests_zero() -> None:
    lr = np.linspace(0, 1, 101)
    rising = LRCurve(lr, np.linspace(1, 5, 101), ramp="linear")
    cut = LRCurve(lr[:5], [1.0, 2.0, 9.0, 80.0, 900.0], ramp="linear", stopped="diverged")
    assert cut.suggest().lr == pytest.approx(0.001)  # a tenth of the first LR above 0
    for curve in (rising, cut, LRCurve(lr, np.ones(101), ramp="linear")):
        for rule in RULES:
            assert 1e-4 < curve.suggest(rule).lr <= 1


def test_the_less_a_curve_tells_the_wider_its_suggestion() -> None:
    assert LOG10_STD["ok"] < LOG10_STD["at_edge"] < LOG10_STD["flat"] < LOG10_STD["diverged_at_start"]
    for curve in (dip(noise=0.05), noisy()):
        suggestion = curve.suggest()
        assert suggestion.log10_std == LOG10_STD[suggestion.status]


# --- what comes back


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("num_steps", [1, 2, 3, 5, 12])
def test_every_rule_gives_a_usable_lr_on_a_short_curve(rule: str, num_steps: int) -> None:
    lr = np.geomspace(1e-3, 1, num_steps)
    for seed in range(5):
        for stopped in ("finished", "diverged", "non_finite"):
            curve = LRCurve(lr, np.random.default_rng(seed).normal(size=num_steps), stopped=stopped)
            suggestion = suggest(curve, rule)
            assert isinstance(suggestion, Suggestion)
            assert 1e-4 * (1 - 1e-9) <= suggestion.lr <= 1
            assert suggestion.rule == rule
            assert suggestion.reason


def test_the_rule_named_is_the_rule_used() -> None:
    curve = dip(noise=0.05)
    for rule, read in RULES.items():
        assert curve.suggest(rule) == suggest(curve, rule)
        assert (suggest(curve, rule).rule, suggest(curve, rule).lr) == (rule, read(curve))
    assert curve.suggest() == curve.suggest(DEFAULT_RULE)


def test_an_unknown_rule_is_an_error_that_tells_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"rule must be one that exists, but got 'steep'\. Did you mean 'steepest'"
    ):
        dip().suggest("steep")
