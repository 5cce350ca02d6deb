"""The report's figures of single trainings and of what they cost: learning curves, schedules, differences, costs, cuts, workers."""

from dataclasses import replace

import numpy as np
import pytest

from lr_search.report.figures import (
    pictures,
    plot_costs,
    plot_forest,
    plot_learning_curves,
    plot_pruning,
    plot_schedules,
    plot_timeline,
    shapes_frame,
)
from lr_search.report.figures.panels import Panels
from lr_search.results.findings import Findings
from tests.helpers.study_records import study


def by_name(records):
    return {picture.name: picture for picture in pictures(Findings("by hand", records))}


def labelled(ax):
    """The lines that a legend names."""
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def lines_of(ax):
    """The vertices of each line of a collection. Returns: (lines,) of (n, 2)."""
    return [segment for group in ax.collections for segment in group.get_segments()]


def test_a_learning_curve_is_drawn_for_every_trial():
    evaluations = Findings("", [study([(0.01, 0.8), (0.1, 0.4), (1.0, 0.6)])]).evaluations
    ax = plot_learning_curves(evaluations, metric="loss")
    assert [line.tolist() for line in lines_of(ax)] == [[[0, 1.0], [10, end]] for end in (0.8, 0.4, 0.6)]
    assert ax.collections[0].get_array().tolist() == [0.01, 0.1, 1.0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("steps", "validation loss")
    losses = plot_learning_curves(evaluations)
    assert [line.tolist() for line in lines_of(losses)] == [[[10, 0.5]]] * 3
    assert losses.get_ylabel() == "training loss"


def test_of_very_many_trials_two_hundred_are_drawn_evenly_over_the_lr():
    lrs = np.geomspace(1e-3, 1, 999)
    found = by_name([study([(float(lr), 0.5) for lr in np.random.default_rng(0).permutation(lrs)])])["learning_curves"]
    drawn = np.sort(np.asarray(found.figure.axes[1].collections[0].get_array()))
    assert len(drawn) == 200
    assert (drawn[0], drawn[-1]) == (lrs[0], lrs[-1])
    assert np.diff(np.log(drawn)) == pytest.approx([np.log(1000) / 199] * 199, rel=0.21)
    assert "200 of 999 trials are drawn" in found.finding
    assert not found.whole


def test_a_training_that_blew_up_does_not_hide_the_others():
    points = [(0.1, 0.5 + 0.01 * n) for n in range(10)] + [(1.0, 1e6)]
    ax = plot_learning_curves(Findings("", [study(points)]).evaluations, metric="loss")
    assert ax.get_ylim()[1] < 10


SAW = {"step": [0, 4, 5, 9], "lr": [1.0, 0.2, 1.0, 0.2], "cycle_ends": [5, 10]}


def test_a_schedule_is_drawn_at_its_best_lr_with_dots_where_cycles_end():
    records = [study([(0.1, 0.5), (1.0, 0.9)]), study([(0.4, 0.3)], schedule="saw", shape=SAW)]
    ax = plot_schedules(shapes_frame(Panels(Findings("", records))))
    lines = labelled(ax)
    assert list(lines) == ["saw: peak 0.4", "constant: 0.1"]
    assert lines["saw: peak 0.4"].get_ydata() == pytest.approx([0.4, 0.08, 0.4, 0.08])
    assert lines["constant: 0.1"].get_ydata() == pytest.approx([0.1, 0.1])
    dots = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [(dot.get_xdata().tolist(), dot.get_ydata().tolist()) for dot in dots] == [
        ([4, 9], pytest.approx([0.08, 0.08]))
    ]


@pytest.mark.parametrize("why", [{"controller": True}, {"search_shape": ["cycles"]}])
def test_what_training_changed_is_drawn_as_the_best_trial_had_it(why):
    record = study([(0.1, 0.5), (0.2, 0.3)], schedule="plateau", **why)
    trial = record.trials[1]
    seen = trial.outcome["evaluations"] | {"lr": [0.2, 0.02], "end_of_cycle": [False, True]}
    record = replace(record, trials=[record.trials[0], replace(trial, outcome=trial.outcome | {"evaluations": seen})])
    ax = plot_schedules(shapes_frame(Panels(Findings("", [record]))))
    line = labelled(ax)["plateau: peak 0.2, as its best training went"]
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([0, 10], [0.2, 0.02])
    assert line.is_dashed()
    assert "As the best training went: plateau." in by_name([record])["schedules"].finding


def test_a_schedule_without_a_best_lr_is_named_and_not_drawn():
    records = [study([(0.1, 0.5)], shape=SAW), study([(0.1, np.inf)], schedule="saw", shape=SAW)]
    found = by_name(records)["schedules"]
    assert list(labelled(found.figure.axes[0])) == ["constant: peak 0.1"]
    assert found.finding == "Best LRs, their peaks where they move: constant 0.1. No best LR, so not drawn: saw."


def compared(seeds):
    """Grid is worse than random by 0.1, 0.2, 0.3, ...; range_test by 0.5 and as much again."""
    extra = {
        "random": lambda seed: 0.0,
        "grid": lambda seed: 0.1 * (seed + 1),
        "range_test": lambda seed: 0.5 + 0.1 * seed,
    }
    return [
        study([(0.1, 0.1 + worse(seed))], strategy=name, seed=seed, start=9.0)
        for name, worse in extra.items()
        for seed in range(seeds)
    ]


def test_a_forest_has_a_row_for_each_difference_with_its_interval():
    found = Findings("", compared(3))
    pairwise = found.pairwise()
    ax = plot_forest(pairwise, objective="loss")
    points = [line for line in ax.lines if len(line.get_xdata()) == 1]
    bars = [line for line in ax.lines if line.get_marker() == "|"]
    assert [float(point.get_xdata()[0]) for point in points] == pytest.approx([0.2, 0.6])
    assert [point.get_ydata()[0] for point in points] == [0, 1]
    assert [bar.get_xdata() for bar in bars] == [
        pytest.approx([low, high]) for low, high in pairwise[["low", "high"]].values
    ]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["grid", "range_test"]
    assert ax.lines[0].get_xdata() == [0, 0]
    assert ax.get_xlabel().startswith("worse than random, constant, SGD")
    assert points[0].get_markerfacecolor() == points[0].get_color()
    assert ax.get_legend() is None
    finding = by_name(compared(3))["differences"].finding
    assert finding.startswith("2 others against the best, random: ")
    assert "The nearest, grid, is worse by 0.2 (95% interval " in finding


def test_with_too_few_seeds_a_forests_markers_are_hollow_and_it_says_so():
    ax = plot_forest(Findings("", compared(2)).pairwise())
    points = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert [point.get_markerfacecolor() for point in points] == ["white"] * 2
    assert not [line for line in ax.lines if line.get_marker() == "|"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "hollow: fewer than 3 seeds, too few for an interval"
    ]


def test_a_forest_has_thirty_rows_at_most():
    records = [
        study([(0.1, 0.01 * n + 0.001 * n * seed)], strategy=f"s{n:02d}", seed=seed)
        for n in range(40)
        for seed in range(3)
    ]
    picture = by_name(records)["differences"]
    labels = [label.get_text() for label in picture.figure.axes[0].get_yticklabels()]
    assert labels == [f"s{n:02d}" for n in range(1, 31)]
    assert "The 30 nearest are drawn, 9 others are not." in picture.finding
    assert not picture.whole


def test_the_bars_of_the_costs_are_the_steps_of_each_part():
    records = [
        study([(0.1, 0.5), (0.2, 0.4), (0.3, np.inf), (0.1, "PRUNED"), (0.1, "FAIL")]),
        study([(0.1, 0.6)], strategy="random"),
    ]
    ax = plot_costs(Findings("", records).costs())
    bars = {group.get_label(): [(bar.get_x(), bar.get_width()) for bar in group] for group in ax.containers}
    assert bars == {
        "finished": [(0, 20), (0, 10)],
        "diverged": [(20, 10), (10, 0)],
        "pruned": [(30, 10), (10, 0)],
        "failed": [(40, 10), (10, 0)],
    }
    assert [label.get_text() for label in ax.get_yticklabels()] == ["grid", "random"]
    finding = by_name(records)["costs"].finding
    assert finding.startswith("Of all steps charged: finished 50%, diverged 17%, pruned 17%, failed 17%.")
    assert finding.endswith("A study of grid spent the most, 50 steps.")


def test_a_pruned_trial_is_drawn_where_it_was_cut():
    records = [study([(0.1, 0.5), (0.2, "PRUNED"), (0.4, "PRUNED"), (1.0, np.inf)], num_steps=30)]
    finished, pruned = plot_pruning(Findings("", records).trials).collections
    assert np.asarray(finished.get_offsets()).tolist() == [[0.1, 10]]
    assert np.asarray(pruned.get_offsets()).tolist() == [[0.2, 10], [0.4, 10]]
    assert pruned.get_label() == "grid, pruned"
    assert by_name(records)["pruning"].finding == (
        "2 of 4 trials were pruned, half of them by step 10 of 30, which saved 40 steps; their LRs: 0.2 to 0.4."
    )


def test_where_nothing_was_pruned_there_is_no_figure_of_it():
    assert "pruning" not in by_name([study([(0.1, 0.5)])])


def at(record, *whens):
    """The trials run on these workers at these seconds. whens: (worker, started)."""
    trials = [
        replace(
            t, outcome=t.outcome | {"worker": worker, "started": f"2026-01-02T03:04:{second:02d}+00:00", "seconds": 2.0}
        )
        for t, (worker, second) in zip(record.trials, whens, strict=True)
    ]
    return replace(record, trials=trials)


def test_the_timeline_has_a_row_for_each_worker_and_a_bar_for_each_trial():
    record = study([(0.1, 0.5), (0.2, np.inf), (0.3, 0.4)])
    found = Findings("", [at(record, ("late 7", 10), ("early 9", 5), ("early 9", 8))])
    ax = plot_timeline(found.all_trials)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["worker 1 (early)", "worker 2 (late)"]
    bars = {group.get_label(): [s.tolist() for s in group.get_segments()] for group in ax.collections}
    assert bars == {"finished": [[[3, 0], [5, 0]], [[5, 1], [7, 1]]], "diverged": [[[0, 0], [2, 0]]]}
    assert ax.get_xlabel() == "seconds since the first start"
    assert (
        by_name(found.records)["timeline"].finding == "2 workers ran 3 trials within 7 seconds, busy for 43% of that."
    )


@pytest.mark.parametrize(
    "workers", [("host 7", "host 7"), ("host 7/1", "host 7/2")]
)  # lanes of one process run side by side
def test_there_is_no_timeline_of_one_process(workers):
    record = at(study([(0.1, 0.5), (0.2, 0.4)]), *((worker, n) for n, worker in enumerate(workers)))
    assert "timeline" not in by_name([record])


def test_the_timeline_shows_the_first_twenty_four_workers():
    record = study([(0.1, 0.5)] * 30)
    found = Findings("", [at(record, *((f"host {n}", n) for n in range(30)))])
    ax = plot_timeline(found.all_trials)
    assert len(ax.get_yticklabels()) == 24
    assert ax.get_xlabel() == "seconds since the first start; 6 more workers are not drawn"
    assert len(ax.collections[0].get_segments()) == 24
    assert not by_name(found.records)["timeline"].whole


def test_of_very_many_trials_those_that_follow_one_another_are_one_bar():
    record = study([(0.1, 0.5)] * 1_500 + [(0.2, np.inf)] + [(0.1, 0.5)] * 1_500)
    other = at(study([(0.1, 0.5)], strategy="random"), ("host 2", 59))
    found = Findings("", [at(record, *(("host 1", n // 60) for n in range(3_001))), other])
    bars = {group.get_label(): len(group.get_segments()) for group in plot_timeline(found.all_trials).collections}
    assert bars == {"finished": 3, "diverged": 1}
    assert by_name(found.records)["timeline"].data["trials"].tolist() == [1_500, 1, 1_500, 1]
