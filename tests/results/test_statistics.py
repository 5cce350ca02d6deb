"""The report's statistics against scipy's own tests, formulas written another way, and simulations whose truth is known."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lr_search.errors import InvalidInputError
from lr_search.results.statistics import MIN_SEEDS, Interval, holm, mean_interval, mean_ranks, paired_interval

SIMULATIONS = 2_000
NAN, INF = math.nan, math.inf


def coverage(differences, truth):
    """The share of simulations (simulations, seeds) whose 95% interval holds the truth, and of those that lie below it."""
    found = [paired_interval(row) for row in differences]
    held = np.mean([interval.low <= truth <= interval.high for interval in found])
    return held, np.mean([interval.high < truth for interval in found])


def holm_by_hand(p, alpha):
    """Holm's procedure in his words: step down while p is below alpha over the hypotheses left. -> adjusted p, rejected."""
    rejected, left = set(), list(range(len(p)))
    while left:
        smallest = min(left, key=lambda i: p[i])
        if p[smallest] >= alpha / len(left):
            break
        rejected.add(smallest)
        left.remove(smallest)
    # the smallest family-wise alpha at which each would be rejected: all with a smaller p must be so first
    adjusted = [min(1, max(sum(other >= q for other in p) * q for q in p if q <= p[i])) for i in range(len(p))]
    return adjusted, [i in rejected for i in range(len(p))]


# paired_interval


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("n", [3, 4, 10, 50])
def test_the_interval_is_that_of_the_paired_t_test(n, confidence):
    rng = np.random.default_rng(n)
    a, b = rng.normal(1.0, 2.0, n), rng.normal(0.5, 1.0, n)
    expected = stats.ttest_rel(a, b)
    low, high = expected.confidence_interval(confidence)
    for found in (paired_interval(a - b, confidence), mean_interval(a - b, confidence)):
        assert found.mean == pytest.approx(np.mean(a) - np.mean(b))
        assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue), rel=1e-9)
        assert found.n == n


def test_a_case_by_hand():
    """Differences 1, 2, 3: s = 1, t(2, 0.975) = 4.303; with 2 degrees of freedom p = 1 - t / sqrt(2 + t^2)."""
    found = paired_interval([1, 2, 3])
    t = 2 * math.sqrt(3)
    assert found.mean == 2
    assert (found.low, found.high) == pytest.approx((2 - 4.303 / math.sqrt(3), 2 + 4.303 / math.sqrt(3)), abs=1e-3)
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t**2))


@pytest.mark.parametrize("seeds", range(1, 3))
@pytest.mark.parametrize("values", [[0.5, 0.3], [0.4, 0.4]])
def test_too_few_seeds_give_the_mean_only(values, seeds):
    given = [*values[:seeds], NAN, INF]
    found = paired_interval(given)
    assert (found.mean, found.n) == (pytest.approx(np.mean(values[:seeds])), seeds)
    assert np.isnan([found.low, found.high, found.p]).all()
    assert seeds < MIN_SEEDS == 3


@pytest.mark.parametrize("values", [[], [NAN, NAN, INF]])
def test_no_seed_gives_no_number(values):
    found = paired_interval(values)
    assert np.isnan([found.mean, found.low, found.high, found.p]).all()
    assert found.n == 0


def test_values_that_are_not_finite_are_left_out():
    assert paired_interval([NAN, 1.0, 2.0, INF, 4.0, -INF]) == paired_interval([1.0, 2.0, 4.0])


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.1, 0.0), (-0.1, 0.0)])
def test_differences_that_do_not_vary(value, p):
    assert paired_interval([value] * 7) == Interval(value, value, value, p, 7)


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e200])
def test_the_unit_of_the_objective_does_not_matter(unit):
    found, plain = paired_interval(np.array([1.0, 2.0, 4.0]) * unit), paired_interval([1.0, 2.0, 4.0])
    assert found.p == pytest.approx(plain.p)
    assert (found.low / unit, found.mean / unit, found.high / unit) == pytest.approx(
        (plain.low, plain.mean, plain.high)
    )


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_of_normal_differences_hold_the_truth_in_95_of_100(n):
    held, below = coverage(np.random.default_rng(n).normal(0.3, 2.0, (SIMULATIONS, n)), truth=0.3)
    assert 0.93 <= held <= 0.97
    assert 0.01 <= below <= 0.04


@pytest.mark.parametrize(("n", "documented"), [(3, 0.84), (5, 0.82), (10, 0.84)])
def test_intervals_of_skewed_differences_hold_it_as_often_as_documented(n, documented):
    rng = np.random.default_rng(n)
    held, below = coverage(rng.lognormal(0.0, 1.0, (SIMULATIONS, n)), truth=math.exp(0.5))
    symmetric, _ = coverage(rng.lognormal(size=(SIMULATIONS, n)) - rng.lognormal(size=(SIMULATIONS, n)), truth=0.0)
    print(f"95% intervals, {n} seeds: lognormal {held:.1%}, difference of two lognormals {symmetric:.1%}")
    assert held == pytest.approx(documented, abs=0.025)
    assert below > 0.95 * (1 - held)
    assert symmetric == pytest.approx(0.97, abs=0.02)


# holm


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_adjusted_p_and_intervals_agree_with_holms_procedure(confidence):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        effects = rng.choice([0.0, 1.0, 3.0], (rng.integers(1, 7), 1))
        groups = effects + rng.normal(size=(len(effects), rng.choice([3, 5, 10])))
        p = [float(stats.ttest_1samp(row, 0.0).pvalue) for row in groups]
        adjusted, rejected = holm_by_hand(p, 1 - confidence)
        found = holm(list(groups), confidence)
        assert [interval.p for interval in found] == pytest.approx(adjusted)
        assert [not interval.low <= 0 <= interval.high for interval in found] == rejected
        assert [interval.p < 1 - confidence for interval in found] == rejected
        seen.add((len(p), sum(rejected)))
    assert {(6, 0), (6, 3), (3, 1), (3, 3)} <= seen


def test_each_interval_has_the_level_of_its_step():
    """Steps at alpha / 4 and alpha / 3 reject; from the third on all have alpha / 2."""
    groups = [[0.1, -0.2, 0.3], [5.0, 5.1, 5.2], [1.0, -2.0, 0.2], [50.0, 50.1, 50.2]]
    found = holm(groups)
    for interval, group, share in zip(found, groups, [2, 3, 2, 4], strict=True):
        low, high = stats.ttest_1samp(group, 0.0).confidence_interval(1 - 0.05 / share)
        assert (interval.low, interval.high) == pytest.approx((low, high))
        assert interval.mean == pytest.approx(np.mean(group))


def test_groups_with_too_few_seeds_do_not_count():
    full, few = [[1.0, 1.2, 1.1], [0.3, 0.1, 0.5]], [1.0, 2.0, NAN]
    found = holm([few, full[0], [], full[1]])
    assert [found[1], found[3]] == holm(full)
    assert (found[0].mean, found[0].n, found[2].n) == (1.5, 2, 0)
    assert np.isnan([found[0].low, found[0].high, found[0].p, found[2].mean, found[2].p]).all()


def test_one_group_needs_no_correction_and_none_gives_none():
    assert holm([[1.0, 2.0, 4.0]], 0.9) == [paired_interval([1.0, 2.0, 4.0], 0.9)]
    assert holm([]) == []


def test_equal_groups_are_told_apart_in_at_most_5_of_100():
    """6 groups and the reference alike, on shared seeds: 2,000 simulations, whose own error is half a percent."""
    rng = np.random.default_rng(1)
    claims = 0
    for _ in range(SIMULATIONS):
        values = rng.normal(size=(5, 7)) + rng.normal(0.0, 3.0, (5, 1))
        claims += any(interval.p < 0.05 for interval in holm(list((values[:, 1:] - values[:, :1]).T)))
    assert 0.02 <= claims / SIMULATIONS <= 0.06


@pytest.mark.parametrize(("n", "k", "documented"), [(3, 2, 0.050), (3, 8, 0.084), (5, 4, 0.071), (5, 8, 0.100)])
def test_a_reference_chosen_as_the_best_makes_as_many_false_claims_as_documented(n, k, documented):
    rng = np.random.default_rng(k)
    claims = 0
    for _ in range(SIMULATIONS // 2):
        values = rng.normal(size=(n, k))
        best = int(np.argmin(values.mean(axis=0)))
        others = np.delete(values, best, axis=1) - values[:, [best]]
        claims += any(interval.p < 0.05 for interval in holm(list(others.T)))
    assert claims / (SIMULATIONS // 2) == pytest.approx(documented, abs=0.025)


def test_intervals_hold_their_differences_as_often_as_documented():
    """6 groups so far apart that all are told from the reference: each interval 95% or more, all at once 88%."""
    rng, truth = np.random.default_rng(0), 10.0 ** np.arange(2, 14, 2)
    found = [holm(list(truth[:, None] + rng.normal(size=(6, 5)))) for _ in range(SIMULATIONS // 2)]
    held = np.array([[i.low <= t <= i.high for i, t in zip(row, truth, strict=True)] for row in found])
    assert held.mean(axis=0).min() > 0.93
    assert held.all(axis=1).mean() == pytest.approx(0.88, abs=0.03)


# mean_ranks


def test_ranks_are_scipys_averaged_over_seeds():
    values = np.random.default_rng(0).integers(0, 4, (20, 6)).astype(float)  # many ties
    up = stats.rankdata(values, axis=1).mean(axis=0)
    assert mean_ranks(values) == pytest.approx(up)
    assert mean_ranks(values, "maximize") == pytest.approx(pd.DataFrame(values).rank(axis=1, ascending=False).mean())
    assert mean_ranks(values, "maximize") == pytest.approx(7 - up)


def test_only_seeds_that_every_group_finished_are_ranked():
    values = [[1.0, 2.0, 3.0], [NAN, 1.0, 2.0], [3.0, INF, 1.0], [2.0, 3.0, 1.0]]
    assert mean_ranks(values) == pytest.approx([1.5, 2.5, 2.0])
    nothing = mean_ranks([[NAN, 1.0], [2.0, INF]])
    assert nothing.shape == (2,)
    assert np.isnan(nothing).all()


# what breaks a rule


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_interval([1, 2, 3], 95), r"confidence must be in \(0, 1\), but got confidence=95"),
        (lambda: holm([[1, 2, 3]], 0.0), "confidence must be in"),
        (lambda: mean_interval([[1, 2, 3]]), r"one dimension, \(seeds,\), but got shape=\(1, 3\)"),
        (lambda: mean_ranks([1, 2, 3]), r"two dimensions, \(seeds, groups\), but got shape=\(3,\)"),
        (lambda: mean_ranks([[1, 2]], "min"), "direction must be minimize or maximize, but got direction='min'"),
    ],
)
def test_errors_name_the_rule_and_what_came(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
