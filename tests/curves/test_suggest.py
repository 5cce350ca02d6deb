"""Each status, and what a suggestion says."""

import numpy as np
import pytest

from lr_search.curves.curve import LRCurve
from lr_search.curves.suggest import DEFAULT_RULE, RULES, Suggestion, judge, suggest
from lr_search.errors import UnknownNameError

CENTRE, WIDTH = -2.0, 0.5  # of a dip in log10(lr)
DECADE = 60  # steps
FROM_THE_LOSS = sorted(set(RULES) - {"gain_ratio"})  # the rules for a curve that has nothing else


def dip(centre: float = CENTRE, *, noise: float = 0.0, seed: int = 0) -> LRCurve:
    place = np.linspace(-7, 3, 10 * DECADE + 1)
    loss = 2.3 - 1.5 * np.exp(-0.5 * ((place - centre) / WIDTH) ** 2)
    return LRCurve(10**place, loss + noise * np.random.default_rng(seed).normal(size=len(place)))


def noisy(num_steps: int = 100, seed: int = 0, **settings: object) -> LRCurve:
    """No descent at all."""
    random = np.random.default_rng(seed)
    return LRCurve(np.geomspace(1e-7, 10, num_steps), 2.3 + 0.1 * random.normal(size=num_steps), **settings)


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


def test_a_flat_curve_that_blew_up_tells_where() -> None:
    for stopped in ("diverged", "non_finite"):
        suggestion = noisy(stopped=stopped).suggest()
        assert suggestion.status == "flat"
        assert 10 / 1000 < suggestion.lr < 10 / 3
        assert "the loss blew up at 10: use more steps" in suggestion.reason


def test_a_flat_curve_with_a_gain_ratio_tells_where_it_falls() -> None:
    lr = np.geomspace(1e-7, 10, 161)
    suggestion = LRCurve(lr, noisy(161).loss, gain_ratio=1 - lr * 20 / 2).suggest()  # 1/2 at 1/20
    assert suggestion.status == "flat"
    assert "half their promise at 0.045" in suggestion.reason
    assert 0.001 < suggestion.lr < 0.3


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
        for rule in FROM_THE_LOSS:
            assert 1e-4 < curve.suggest(rule).lr <= 1


def test_the_less_a_curve_tells_the_wider_its_suggestion() -> None:
    ok, flat, cut = dip(noise=0.05), noisy(), LRCurve(np.geomspace(1, 10, 6), [2, 2, 2, 9, 80, 900], stopped="diverged")
    assert ok.suggest().log10_std <= flat.suggest().log10_std < cut.suggest().log10_std
    assert ok.suggest().log10_std < ok.suggest("valley").log10_std


def test_pooled_curves_give_the_geometric_mean_and_are_wider_by_their_spread() -> None:
    curves = [dip(centre, noise=0.02) for centre in (-2.2, -1.8)]
    pooled = LRCurve.pool(curves).suggest("minimum")
    places = np.log10([curve.suggest("minimum").lr for curve in curves])
    assert np.log10(pooled.lr) == pytest.approx(places.mean())
    assert pooled.status == "ok"
    alone = curves[0].suggest("minimum").log10_std
    assert pooled.log10_std == pytest.approx(np.hypot(alone, places.std(ddof=1)))


def test_pooled_curves_that_disagree_are_noisy() -> None:
    suggestion = LRCurve.pool([dip(centre, noise=0.02) for centre in (-3.0, -2.0, -1.0)]).suggest("minimum")
    assert suggestion.status == "noisy"
    assert "3 seeds scatter by 1 decades: add seeds" in suggestion.reason


# --- what comes back


@pytest.mark.parametrize("rule", FROM_THE_LOSS)
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
    for rule in FROM_THE_LOSS:
        assert curve.suggest(rule) == suggest(curve, rule)
        assert suggest(curve, rule).rule == rule
        assert suggest(curve, rule).lr == pytest.approx(RULES[rule](curve), rel=1e-12)
    assert curve.suggest() == curve.suggest(DEFAULT_RULE)


def test_an_unknown_rule_is_an_error_that_tells_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"rule must be one that exists, but got 'valleys'\. Did you mean 'valley'"
    ):
        dip().suggest("valleys")
    with pytest.raises(UnknownNameError, match=r"It is a schedule: suggest\(schedule='cosine'\)\."):
        dip().suggest("cosine")
