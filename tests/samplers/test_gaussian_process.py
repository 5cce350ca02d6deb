"""The Gaussian process against its textbook formulas, worked out with numpy's and scipy's own routines."""

import math

import numpy as np
import pytest
from scipy import stats

from lr_search.samplers import gaussian_process as gp

PLACES = np.array([-4.0, -2.5, -2.0, -0.5])
VALUES = np.array([1.2, -0.3, -1.0, 0.1])
AT = np.linspace(-5, 1, 13)


def matern(distance: float, length: float) -> float:
    scaled = math.sqrt(5) * abs(distance) / length
    return (1 + scaled + scaled**2 / 3) * math.exp(-scaled)


def textbook(length: float, noise: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Equations 2.25, 2.26 and the evidence, by plain inverses."""
    n = len(PLACES)
    kernel = np.array([[matern(a - b, length) for b in PLACES] for a in PLACES]) + noise * np.eye(n)
    across = np.array([[matern(a - b, length) for b in PLACES] for a in AT])
    inverse, ones = np.linalg.inv(kernel), np.ones(n)
    mean = ones @ inverse @ VALUES / (ones @ inverse @ ones + 0.5)
    left = VALUES - mean
    variance = (left @ inverse @ left + 2) / (n + 2)
    deviation = np.sqrt(variance * (1 - np.einsum("ij,jk,ik->i", across, inverse, across)))
    prior = stats.norm(math.log(0.8), 0.6).logpdf(math.log(length))
    evidence = -(n + 2) / 2 * math.log(variance) - 0.5 * np.linalg.slogdet(kernel)[1] + prior
    return mean + across @ inverse @ left, deviation, evidence


def test_the_belief_is_the_textbook_s_mixture() -> None:
    parts = [textbook(length, noise) for length in gp.LENGTHS for noise in gp.NOISES]
    found = gp.believe(PLACES, VALUES, AT)
    np.testing.assert_allclose(found.means, [mean for mean, _, _ in parts], atol=1e-8)
    np.testing.assert_allclose(found.deviations, [deviation for _, deviation, _ in parts], atol=2e-4)
    evidence = np.exp([each for _, _, each in parts])
    np.testing.assert_allclose(found.weights, evidence / evidence.sum(), rtol=1e-6)


def test_the_expected_improvement_is_that_of_a_normal_distribution() -> None:
    belief = gp.Belief(np.array([[0.3, -2.0]]), np.array([[0.5, 1.5]]), np.array([1.0]))
    found = belief.expected_improvement(0.1)
    for place, (mean, deviation) in enumerate(((0.3, 0.5), (-2.0, 1.5))):
        below = stats.norm(mean, deviation).expect(lambda y: 0.1 - y, ub=0.1)
        assert found[place] == pytest.approx(below, abs=1e-5)
    assert (belief.expected_improvement(-100.0) >= 0).all()


def test_near_a_training_it_believes_the_training() -> None:
    found = gp.believe(PLACES, VALUES, PLACES)
    np.testing.assert_allclose(found.mean, VALUES, atol=0.1)


def test_whole_draws_scatter_as_the_belief_says() -> None:
    belief, drawn = gp.believe(PLACES, VALUES, AT), gp.paths(PLACES, VALUES, AT, 4000, seed=1)
    np.testing.assert_allclose(drawn.mean(axis=0), belief.mean, atol=0.1)
    squares = belief.weights @ (belief.deviations**2 + belief.means**2)
    np.testing.assert_allclose(drawn.std(axis=0), np.sqrt(squares - belief.mean**2), atol=0.1)
    assert np.array_equal(drawn, gp.paths(PLACES, VALUES, AT, 4000, seed=1))


def test_standardized_values_keep_their_order_and_what_is_far_worse_is_alike() -> None:
    found = gp.standardized(np.array([0.5, 0.1, math.inf, 0.3, 1e6, 0.2, 0.4, 0.7]))
    assert found.mean() == pytest.approx(0)
    assert found.std() == pytest.approx(1)
    assert np.argsort(found)[:4].tolist() == [1, 5, 3, 6]
    assert found[2] == found[4] == found.max()
    scaled = gp.standardized(1000 * np.array([0.5, 0.1, math.inf, 0.3, 1e6, 0.2, 0.4, 0.7]) - 5)
    np.testing.assert_allclose(scaled, found)


def test_values_that_do_not_differ_tell_nothing_and_divergence_alone_is_worse_than_anything() -> None:
    assert gp.standardized(np.array([2.0, 2.0])).tolist() == [0, 0]
    assert gp.standardized(np.array([2.0])).tolist() == [0]
    assert gp.standardized(np.array([math.inf, math.inf])).tolist() == [1, 1]
    assert gp.standardized(np.array([2.0, math.inf])).tolist() == [0, 1]
