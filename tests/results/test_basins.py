"""How the objective depends on the LR, on curves whose shape is known."""

import math

import numpy as np
import pytest

from lr_search.results.candidates import MOST_LRS, basins_frame, candidates
from tests.helpers.study_records import study

GRID = np.geomspace(1e-4, 1.0, 9)  # half a decade apart: no trial speaks for its neighbour but a little


def parabola(lr, width=1.0):
    """1 at step 0; 0.2 at 1e-2, and as bad as at step 0 `width` decades from there."""
    return min(1.0, 0.2 + 0.8 * (math.log10(lr / 1e-2) / width) ** 2)


def searched(lrs, **changes):
    return study([(float(lr), parabola(float(lr))) for lr in lrs], **changes)


def test_a_dense_search_gives_the_parabolas_basin_and_what_is_lost_off_it():
    lrs = np.geomspace(1e-4, 1.0, 401)
    row = basins_frame([searched(lrs)]).iloc[0]
    # the kernel's width of 0.15 decades lifts the bottom, and the basin with it, by 0.8 x 0.15^2
    assert row["lr"] == pytest.approx(1e-2, rel=0.03)
    assert row["value"] == pytest.approx(0.2 + 0.8 * 0.15**2, abs=1e-3)
    reach = math.sqrt(0.05 * (1 - row["value"]) / 0.8)
    assert math.log10(row["high"] / 1e-2) == pytest.approx(reach, abs=0.01)
    assert math.log10(1e-2 / row["low"]) == pytest.approx(reach, abs=0.01)
    lost = 0.8 * math.log10(3) ** 2 / (1 - row["value"])
    assert (row["lost_3x_below"], row["lost_3x_above"]) == pytest.approx((lost, lost), abs=0.01)
    assert (row["seeds"], row["trials"]) == (1, 401)


def test_a_narrow_basin_is_told_from_a_wide_one():
    points = {
        width: [(float(lr), parabola(float(lr), width)) for lr in np.geomspace(1e-4, 1.0, 81)] for width in (0.5, 2.0)
    }
    frame = basins_frame([study(points[0.5], schedule="narrow"), study(points[2.0], schedule="wide")]).set_index(
        "schedule"
    )
    assert frame.loc["narrow", "lost_3x_above"] > 5 * frame.loc["wide", "lost_3x_above"]
    assert (
        frame.loc["wide", "high"] / frame.loc["wide", "low"] > frame.loc["narrow", "high"] / frame.loc["narrow", "low"]
    )


def test_beyond_the_lrs_that_were_tried_nothing_is_claimed():
    row = basins_frame([searched([8e-3, 1e-2, 1.25e-2])]).iloc[0]
    assert math.isnan(row["lost_3x_below"])
    assert math.isnan(row["lost_3x_above"])
    assert (row["low"], row["high"]) == pytest.approx((8e-3, 1.25e-2))


def test_the_highest_is_best_where_the_objective_is_maximized():
    points = [(float(lr), 1.0 - parabola(float(lr))) for lr in GRID]
    row = basins_frame([study(points, direction="maximize", start=0.0)]).iloc[0]
    assert row["lr"] == pytest.approx(1e-2)
    assert 0 < row["lost_3x_above"] < 1
    assert row["low"] < 1e-2 < row["high"]


def test_very_many_trials_give_the_same_as_few():
    few = candidates([searched(np.geomspace(1e-4, 1.0, 300))])[0]
    many = candidates([searched(np.geomspace(1e-4, 1.0, 6_000))])[0]
    assert len(many.lrs) <= MOST_LRS
    assert many.trials == 6_000
    assert many.lr == pytest.approx(few.lr, rel=0.05)
    assert many.value == pytest.approx(few.value, abs=1e-3)


def test_the_best_lr_of_very_many_trials_is_found_among_many_seeds():
    records = [searched(np.geomspace(1e-4, 1.0, 2_000) * 1.001**seed, seed=seed) for seed in range(5)]
    found = candidates(records)[0]
    assert found.trials == 10_000
    assert found.lr == pytest.approx(1e-2, rel=0.05)


def test_the_frame_of_nothing_keeps_its_columns():
    assert list(basins_frame([]).columns) == list(basins_frame([searched(GRID)]).columns)
