"""Paired differences between the ways of searching, against scipy's paired test and Holm's rule by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from lr_search.errors import InvalidInputError
from lr_search.results.pairwise import pairwise_frame
from tests.helpers.study_records import study

BEST = [0.10, 0.30, 0.50, 0.20]
NEAR = [0.12, 0.31, 0.49, 0.22]
FAR = [0.30, 0.51, 0.69, 0.42]


def studies(values, **changes):
    return [study([(0.1, value)], seed=seed, **changes) for seed, value in enumerate(values)]


def three(**changes):
    found = [studies(BEST, strategy="best", **changes), studies(FAR, strategy="far", **changes)]
    return [*found[0], *found[1], *studies(NEAR, strategy="near", **changes)]


def test_differences_to_the_best_are_paired_over_seeds_and_corrected_after_holm():
    frame = pairwise_frame(three())
    assert frame["strategy"].tolist() == ["near", "far"]
    assert set(frame["than_strategy"]) == {"best"}
    tests = {name: stats.ttest_rel(values, BEST) for name, values in (("near", NEAR), ("far", FAR))}
    near, far = frame.iloc[0], frame.iloc[1]
    assert near["worse_by"] == pytest.approx(np.mean(np.subtract(NEAR, BEST)))
    # two tests: the smaller p counts twice, the larger once but no less than that
    assert far["p"] == pytest.approx(2 * tests["far"].pvalue)
    assert near["p"] == pytest.approx(max(2 * tests["far"].pvalue, tests["near"].pvalue))
    low, high = tests["far"].confidence_interval(1 - 0.05 / 2)
    assert (far["low"], far["high"]) == pytest.approx((low, high))
    low, high = tests["near"].confidence_interval(0.95)
    assert (near["low"], near["high"]) == pytest.approx((low, high))
    assert frame["verdict"].tolist() == ["no difference told apart", "worse"]
    assert frame["seeds"].tolist() == [4, 4]


def test_worse_is_positive_where_the_objective_is_maximized_too():
    up = {"direction": "maximize", "start": 0.0}
    frame = pairwise_frame(
        [*studies([0.9, 0.8, 0.7], strategy="a", **up), *studies([0.5, 0.41, 0.3], strategy="b", **up)]
    )
    assert (frame["strategy"].item(), frame["than_strategy"].item()) == ("b", "a")
    assert frame["worse_by"].item() == pytest.approx(np.mean([0.4, 0.39, 0.4]))
    assert frame["verdict"].item() == "worse"


def test_a_reference_is_looked_for_under_each_schedule():
    records = [*three(), *three(schedule="sgdr")]
    frame = pairwise_frame(records, {"strategy": "near"})
    rows = {(row.strategy, row.schedule): row for row in frame.itertuples()}
    assert set(rows) == {(name, schedule) for name in ("best", "far") for schedule in ("constant", "sgdr")}
    assert all(row.than_schedule == row.schedule and row.than_strategy == "near" for row in rows.values())
    assert rows["best", "sgdr"].worse_by == pytest.approx(-np.mean(np.subtract(NEAR, BEST)))
    assert rows["far", "constant"].verdict == "worse"


def test_with_fewer_than_three_seeds_it_says_so_instead_of_a_number():
    frame = pairwise_frame([*studies([0.1, 0.2], strategy="a"), *studies([0.3, 0.5], strategy="b")])
    row = frame.iloc[0]
    assert row["worse_by"] == pytest.approx(0.25)
    assert all(math.isnan(row[name]) for name in ("low", "high", "p"))
    assert (row["seeds"], row["verdict"]) == (2, "too few seeds")


def test_a_seed_that_one_has_not_finished_does_not_count():
    records = [
        *studies(BEST, strategy="a"),
        *studies(FAR[:3], strategy="b"),
        study([(0.1, "RUNNING")], seed=3, strategy="b"),
    ]
    row = pairwise_frame(records).iloc[0]
    assert row["seeds"] == 3
    assert row["worse_by"] == pytest.approx(np.mean(np.subtract(FAR[:3], BEST[:3])))


def test_a_diverged_study_counts_as_the_objective_at_step_0():
    frame = pairwise_frame([*studies(BEST[:3], strategy="a"), *studies([math.inf] * 3, strategy="b", start=2.0)])
    assert frame["worse_by"].item() == pytest.approx(2.0 - np.mean(BEST[:3]))


@pytest.mark.parametrize("records", [[], [study([])], studies(BEST)], ids=["none", "no trial", "one"])
def test_without_a_pair_the_table_is_empty_and_keeps_its_columns(records):
    frame = pairwise_frame(records)
    assert len(frame) == 0
    assert list(frame.columns) == list(pairwise_frame(three()).columns)
    assert frame["seeds"].dtype == "Int64"


@pytest.mark.parametrize("to", [{"strategy": "gird"}, {"stratgy": "grid"}])
def test_a_reference_that_is_not_there_is_told_with_those_that_are(to):
    with pytest.raises(InvalidInputError, match=r"to must name what was compared.*best, far, near"):
        pairwise_frame(three(), to)
