"""Where the steps went, by hand and on a real comparison."""

import pytest

from lr_search.results.costs import costs_frame
from tests.helpers.study_records import STEPS, study


def spent(frame, **keys):
    rows = frame
    for name, value in keys.items():
        rows = rows[rows[name] == value]
    return rows.set_index("part")["steps"].to_dict()


def test_each_trials_steps_go_to_how_it_ended_and_are_averaged_over_seeds():
    records = [
        study([(0.1, 0.5), (0.1, "PRUNED"), (0.1, float("inf"))]),
        study([(0.1, "FAIL"), (0.1, "RUNNING")], seed=1),
    ]
    frame = costs_frame(records)
    half = STEPS / 2
    assert spent(frame) == {
        "range tests": 0,
        "pilots": 0,
        "finished": half,
        "diverged": half,
        "pruned": half,
        "failed": half,
    }
    assert frame["seconds"].sum() == pytest.approx(4 * 0.5 / 2)


def test_the_parts_of_a_real_comparison_add_up_to_the_steps_of_its_summary(bowl_comparison):
    frame, summary = bowl_comparison.costs(), bowl_comparison.summary(full=True)
    for row in summary.itertuples():
        parts = spent(frame, strategy=row.strategy, schedule=row.schedule)
        assert sum(parts.values()) == pytest.approx(row.steps)
        assert (parts["range tests"] > 0) == (row.strategy == "range_test")
        assert (parts["diverged"] > 0) == (row.diverged > 0)


def test_the_frame_of_nothing_keeps_its_columns():
    assert list(costs_frame([]).columns) == ["strategy", "schedule", "optimizer", "part", "steps", "seconds"]
