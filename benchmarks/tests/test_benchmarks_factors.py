"""What benchmarks/factors.py reads off its measurements, on numbers with a known answer."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.bench


@pytest.fixture
def fit(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("factors_fit")


@pytest.mark.parametrize("best", [-2.4, -2.1, -2.0, -1.6])
def test_a_parabola_is_read_back(fit, best):
    places = np.arange(-3.0, -1.0, 0.25)

    assert fit.parabola_minimum(places, 0.3 + 2 * (places - best) ** 2) == pytest.approx(best)


def test_a_parabola_leans_away_from_a_wall_by_at_most_half_a_step(fit):
    places = np.array([-2.0, -1.75, -1.5, -1.25])

    assert -1.875 < fit.parabola_minimum(places, np.array([0.2, 0.1, 2.3, 2.3])) < -1.75


def test_a_lowest_point_at_an_end_stays_there(fit):
    places = np.array([0.0, 1.0, 2.0])

    assert fit.parabola_minimum(places, np.array([1.0, 2.0, 4.0])) == 0.0
    assert fit.parabola_minimum(places, np.array([4.0, 2.0, 1.0])) == 2.0
    assert fit.parabola_minimum(places, np.array([1.0, 1.0, 1.0])) == 0.0


def test_slope_and_standard_error_of_seeds_that_follow_power_laws(fit):
    factor, slopes = np.array([4.0, 16.0, 64.0, 256.0]), np.array([-1.0, -0.8, -0.6])

    found = fit.slope(factor, np.log10(factor)[:, None] * slopes - 2)

    assert found.mean == pytest.approx(-0.8)
    assert found.error == pytest.approx(0.2 / math.sqrt(3))  # the sample deviation of -1, -.8, -.6 is .2
    assert found.off == pytest.approx(0, abs=1e-9)
    reach = 4.302653 * found.error  # Student's t, 2 degrees of freedom
    assert found.interval() == pytest.approx((-0.8 - reach, -0.8 + reach))


def test_what_no_line_fits_is_told(fit):
    places = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])

    found = fit.slope(np.array([1.0, 10.0, 100.0]), places)

    assert found.mean == pytest.approx(0)
    assert found.off == pytest.approx(math.sqrt((1 / 9 + 4 / 9 + 1 / 9) / 3))


def test_a_missing_lr_is_left_out(fit):
    places = np.array([[0.0, 0.0], [np.nan, 1.0], [4.0, 2.0]])

    assert fit.slope(np.array([1.0, 10.0, 100.0]), places).mean == pytest.approx(1.5)  # the seeds' slopes are 2 and 1


@pytest.mark.parametrize("start", [1e-5, 3e-3, 0.5])
def test_the_grid_grows_until_every_seeds_best_is_inside(fit, start):
    best = np.array([-2.5, -2.0, -1.0])

    found = fit.grown(lambda lr: ((math.log10(lr) - best) ** 2).tolist(), [start])

    places = np.log10(list(found))
    assert np.diff(places) == pytest.approx(0.25)
    begun = math.log10(start)
    assert min(begun, -3.0) - 0.75 < places[0] < -3.0 + 1e-9
    assert -0.5 - 1e-9 < places[-1] < max(begun, -0.5) + 0.75
    assert min(found, key=lambda lr: found[lr][0]) == pytest.approx(10**-2.5)
