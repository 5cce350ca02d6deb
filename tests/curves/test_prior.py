"""LRPrior against its formula, worked out with `statistics.NormalDist` and by numerical integration."""

import json
import math
from statistics import NormalDist
from typing import Any

import numpy as np
import optuna
import pytest
from scipy.integrate import trapezoid

from lr_search.curves.curve import LRCurve
from lr_search.curves.prior import LRPrior
from lr_search.errors import InvalidInputError

PRIORS = {
    "usual": LRPrior(low=1e-5, high=10.0, mode=0.02),
    "narrow": LRPrior(low=1e-5, high=10.0, mode=0.02, log10_std=0.05),
    "wide": LRPrior(low=1e-5, high=10.0, mode=0.02, log10_std=3.0),
    "at its low end": LRPrior(low=1e-4, high=1.0, mode=1e-4, log10_std=0.4),
    "at its high end": LRPrior(low=1e-4, high=1.0, mode=1.0, log10_std=0.4),
    "no tails": LRPrior(low=1e-3, high=1.0, mode=0.02, log10_std=0.5, tails=0.0),
    "tails alone": LRPrior(low=1e-3, high=1.0, mode=0.02, log10_std=0.5, tails=1.0),
    "wider above": LRPrior(low=1e-5, high=10.0, mode=0.02, log10_std=0.5, skew=0.4),
    "wider below": LRPrior(low=1e-3, high=1.0, mode=0.02, log10_std=0.8, tails=0.0, skew=-0.6),
}


@pytest.fixture(params=PRIORS)
def prior(request: pytest.FixtureRequest) -> LRPrior:
    return PRIORS[request.param]


def grid(prior: LRPrior, count: int = 20_001) -> np.ndarray:
    lrs = np.geomspace(prior.low, prior.high, count)
    lrs[0], lrs[-1] = prior.low, prior.high
    return lrs


def formula(prior: LRPrior, lr: float) -> float:
    """The density per decade: halves of two normals of the same height, cut to the range, and a uniform."""
    low, high, mode = math.log10(prior.low), math.log10(prior.high), math.log10(prior.mode)
    below, above = (NormalDist(mode, prior.log10_std * (1 + side * prior.skew)) for side in (-1, 1))
    share = below.stdev / (below.stdev + above.stdev)  # of the two halves' mass
    inside = 2 * share * (0.5 - below.cdf(low)) + 2 * (1 - share) * (above.cdf(high) - 0.5)
    place = math.log10(lr)
    half = 2 * share * below.pdf(place) if place < mode else 2 * (1 - share) * above.pdf(place)
    return (1 - prior.tails) * half / inside + prior.tails / (high - low)


def test_the_density_is_the_formula_s(prior: LRPrior) -> None:
    lrs = grid(prior, 101)
    np.testing.assert_allclose(prior.pdf(lrs), [formula(prior, lr) for lr in lrs], rtol=1e-9)


def test_the_density_is_one_in_all_and_none_outside(prior: LRPrior) -> None:
    lrs = grid(prior)
    assert trapezoid(prior.pdf(lrs), np.log10(lrs)) == pytest.approx(1, abs=1e-5)
    assert prior.pdf([prior.low / 1.01, prior.high * 1.01, 1e-300, 1e300]).tolist() == [0, 0, 0, 0]


def test_the_density_is_highest_at_the_mode() -> None:
    for prior in (prior for prior in PRIORS.values() if prior.tails < 1):
        lrs = grid(prior)
        assert lrs[np.argmax(prior.pdf(lrs))] == pytest.approx(prior.mode, rel=1e-3)
        assert prior.pdf(prior.mode) >= prior.pdf(lrs).max()


def test_the_share_below_is_the_integral_of_the_density(prior: LRPrior) -> None:
    lrs = grid(prior)
    density, place = prior.pdf(lrs), np.log10(lrs)
    below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(place))])
    np.testing.assert_allclose(prior.cdf(lrs), below, atol=1e-5)
    assert prior.cdf([prior.low / 2, prior.low, prior.high, 2 * prior.high]) == pytest.approx([0, 0, 1, 1])


def test_quantiles_undo_shares(prior: LRPrior) -> None:
    shares = np.linspace(0, 1, 101)
    lrs = prior.ppf(shares)
    assert (np.diff(lrs) >= 0).all()
    np.testing.assert_allclose(prior.cdf(lrs), shares, atol=1e-9)
    assert ((lrs >= prior.low) & (lrs <= prior.high)).all()


def test_shares_undo_quantiles_where_there_are_tails() -> None:
    for prior in (prior for prior in PRIORS.values() if prior.tails > 0):
        lrs = grid(prior, 101)
        np.testing.assert_allclose(prior.ppf(prior.cdf(lrs)), lrs, rtol=1e-9)
        assert prior.ppf(0) == pytest.approx(prior.low)
        assert prior.ppf(1) == pytest.approx(prior.high)


def test_tails_alone_are_log_uniform() -> None:
    shares = np.linspace(0, 1, 11)
    np.testing.assert_allclose(PRIORS["tails alone"].ppf(shares), 10 ** (3 * shares - 3), rtol=1e-9)


def test_without_tails_the_quartiles_are_those_of_the_cut_normal() -> None:
    prior = PRIORS["no tails"]
    normal = NormalDist(math.log10(0.02), 0.5)
    below, above = normal.cdf(-3), normal.cdf(0)
    quartiles = [10 ** normal.inv_cdf(below + q * (above - below)) for q in (0.25, 0.5, 0.75)]
    np.testing.assert_allclose(prior.ppf([0.25, 0.5, 0.75]), quartiles, rtol=1e-9)


def test_a_number_gives_a_float_and_an_array_keeps_its_shape() -> None:
    prior = PRIORS["usual"]
    assert type(prior.ppf(0.3)) is float
    shares = np.linspace(0.1, 0.9, 6).reshape(2, 3)
    assert prior.ppf(shares).shape == (2, 3)
    assert prior.ppf(shares)[1, 2] == pytest.approx(
        prior.ppf(shares[1, 2]), rel=1e-12
    )  # numpy may round arrays otherwise
    assert prior.cdf(prior.ppf(shares)).shape == prior.pdf(prior.ppf(shares)).shape == (2, 3)


# --- draws


def test_draws_follow_the_prior(prior: LRPrior) -> None:
    shares = np.sort(prior.cdf(prior.sample(500, seed=1)))
    assert np.abs(shares - (np.arange(500) + 0.5) / 500).max() < 1.63 / math.sqrt(500)  # Kolmogorov-Smirnov, 1 %


def test_a_seed_always_gives_the_same_draws(prior: LRPrior) -> None:
    draws = prior.sample(20, seed=3)
    assert draws.shape == (20,)
    assert ((draws >= prior.low) & (draws <= prior.high)).all()
    np.testing.assert_array_equal(prior.sample(20, seed=3), draws)
    assert not np.isin(prior.sample(20, seed=4), draws).any()


# --- where it comes from


def test_a_person_s_prior_is_a_factor_wide() -> None:
    prior = LRPrior.around(1e-3, factor=5)
    assert prior.mode == 1e-3
    assert (prior.low, prior.high) == pytest.approx((1e-3 / 5**4, 1e-3 * 5**4))  # four standard deviations
    assert prior.log10_std == pytest.approx(math.log10(5))
    assert LRPrior.around(1e-3) == LRPrior.around(1e-3, factor=3.0)
    assert LRPrior.around(0.5, lr_range=(0.1, 1.0)).low == 0.1


@pytest.mark.parametrize("lr", [1e-9, 5e-6, 1e-3, 100.0])
def test_a_person_s_prior_is_around_any_lr(lr: float) -> None:
    prior = LRPrior.around(lr)
    assert (prior.low / lr, prior.high / lr) == pytest.approx((0.01, 100.0))
    assert prior.cdf(lr) == pytest.approx(0.5)
    with pytest.raises(InvalidInputError, match="lr must be positive and finite, but got lr=0"):
        LRPrior.around(0.0 * lr)


def dip(centre: float, num_steps: int = 601) -> LRCurve:
    place = np.linspace(-7, 3, num_steps)
    noise = 0.01 * np.random.default_rng(0).normal(size=num_steps)
    return LRCurve(10**place, 2.3 - 1.5 * np.exp(-2 * (place - centre) ** 2) + noise)


def test_one_curve_s_suggestion_is_the_mode() -> None:
    curve = dip(-1.0)
    prior = LRPrior.from_curves([curve])
    assert prior.mode == pytest.approx(curve.suggest().lr)
    assert 1e-4 < prior.mode < 0.3
    assert prior.log10_std == pytest.approx(curve.suggest().log10_std)


def test_several_curves_are_averaged_in_log_lr_and_widened_by_how_they_differ() -> None:
    curves = [dip(-2.0), dip(-1.0), dip(0.0)]
    logs = [math.log10(curve.suggest().lr) for curve in curves]
    mean = sum(logs) / 3
    variance = sum((log - mean) ** 2 for log in logs) / 3
    prior = LRPrior.from_curves(curves)
    assert math.log10(prior.mode) == pytest.approx(mean)
    assert prior.log10_std == pytest.approx(math.sqrt(curves[0].suggest().log10_std ** 2 + variance))
    assert variance > 0.3


def test_a_curve_that_tells_less_makes_a_wider_prior() -> None:
    flat = LRCurve(np.geomspace(1e-7, 10, 100), 2.3 + 0.1 * np.random.default_rng(0).normal(size=100))
    blown_up = LRCurve(np.geomspace(1, 10, 6), [2, 2, 2, 9, 80, 900], stopped="diverged")
    priors = [LRPrior.from_curves([curve]) for curve in (dip(-1.0), flat, blown_up)]
    stds, skews = [prior.log10_std for prior in priors], [prior.skew for prior in priors]
    assert (
        skews[0] > 0 == skews[1]
    )  # too high costs more: what is best lies above what is suggested, where anything is known
    assert stds[0] <= stds[1] < stds[2]
    both = LRPrior.from_curves([flat, flat, dip(-1.0)])  # they disagree as well
    assert both.log10_std > math.sqrt((2 * flat.suggest().log10_std ** 2 + dip(-1.0).suggest().log10_std ** 2) / 3)


@pytest.mark.parametrize("schedule", [None, "constant", "triangular2", "sgdr", "linear", "one_cycle"])
def test_a_prior_is_the_suggestion_for_that_training(schedule: str | None) -> None:
    curve = dip(-1.0)
    prior = LRPrior.from_curves([curve], schedule=schedule, num_steps=3000)
    suggestion = curve.suggest(schedule=schedule, num_steps=3000)
    assert (prior.mode, prior.log10_std) == pytest.approx((suggestion.lr, suggestion.log10_std))


def test_a_suggestion_outside_the_range_searched_becomes_its_nearest_end() -> None:
    assert LRPrior.from_curves([dip(-1.0)], lr_range=(0.1, 1.0)).mode == pytest.approx(0.1)
    prior = LRPrior.from_curves([dip(-1.0)], lr_range=(1e-6, 1e-4))
    assert (prior.low, prior.high, prior.mode) == (1e-6, 1e-4, pytest.approx(1e-4))


# --- where it goes


def test_json_gives_the_prior_back_to_the_last_bit(prior: LRPrior) -> None:
    assert LRPrior.from_json(json.loads(json.dumps(prior.to_json()))) == prior


def test_another_format_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="a prior must have format 1 or 2, but got format=3"):
        LRPrior.from_json(PRIORS["usual"].to_json() | {"format": 3})


def test_a_prior_of_an_older_version_has_no_skew() -> None:
    record = {"format": 1, "low": 1e-5, "high": 10.0, "mode": 0.02, "log10_std": 0.7, "tails": 0.1}
    assert LRPrior.from_json(record) == LRPrior(1e-5, 10.0, 0.02, 0.7, 0.1, skew=0.0)


def test_its_range_is_an_optuna_distribution() -> None:
    assert PRIORS["usual"].distribution() == optuna.distributions.FloatDistribution(1e-5, 10.0, log=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 0.0}, "low must be positive and below high, but got low=0.0, high=10.0"),
        ({"low": -1.0}, "low must be positive and below high, but got low=-1.0"),
        ({"low": 10.0}, "low must be positive and below high, but got low=10.0, high=10.0"),
        ({"high": math.inf}, "low must be positive and below high"),
        ({"mode": 1e-6}, "mode must lie between low and high, but got mode=1e-06"),
        ({"mode": 11.0}, "mode must lie between low and high, but got mode=11.0"),
        ({"mode": math.nan}, "mode must be a number, but got nan"),
        ({"log10_std": 0.0}, "log10_std must be positive and finite, but got log10_std=0.0"),
        ({"log10_std": math.inf}, "log10_std must be positive and finite, but got log10_std=inf"),
        ({"tails": -0.1}, "tails must be between 0 and 1, but got tails=-0.1"),
        ({"tails": 1.1}, "tails must be between 0 and 1, but got tails=1.1"),
        ({"skew": 1.0}, "skew must be above -1 and below 1, but got skew=1.0"),
        ({"skew": -1.5}, "skew must be above -1 and below 1, but got skew=-1.5"),
    ],
)
def test_a_number_that_breaks_a_rule_is_an_error_that_holds_both(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        LRPrior(**({"low": 1e-5, "high": 10.0, "mode": 0.02, "log10_std": 0.7, "tails": 0.15} | arguments))
    assert message in str(error.value)


def test_other_bad_input_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="curves must hold at least one curve"):
        LRPrior.from_curves([])
    with pytest.raises(InvalidInputError, match="factor must be above 1, and finite, but got factor=1"):
        LRPrior.around(1e-3, factor=1)
    with pytest.raises(InvalidInputError, match="lr must lie inside lr_range, but got lr=100"):
        LRPrior.around(100, lr_range=(1e-5, 10.0))
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(InvalidInputError, match=f"q must be between 0 and 1, but got q={share}"):
            PRIORS["usual"].ppf(share)
