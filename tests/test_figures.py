"""The report's figures: what is drawn, and that it is labelled."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from lr_search.report.figures import (
    all_figures,
    anytime_figure,
    learning_figure,
    lr_figure,
    range_test_figure,
    schedule_figure,
)
from lr_search.report.style import png
from tests.study_records import study

FIGURES = [anytime_figure, lr_figure, learning_figure, range_test_figure, schedule_figure]
SCHEDULES = ["constant", "triangular2"]


def panels(figure):
    """The visible axes that hold data, without colour bars."""
    return [
        ax for ax in figure.axes if ax.get_visible() and (ax.lines or ax.collections) and ax.get_label() != "<colorbar>"
    ]


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


@pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)
def test_every_panel_has_labelled_axes_and_the_picture_is_a_png(draw, bowl_comparison):
    figure = draw(bowl_comparison.records)
    assert isinstance(figure, Figure)
    assert panels(figure)
    for ax in panels(figure):
        below = [other for other in panels(figure) if other.get_position().x0 == ax.get_position().x0]
        assert ax.get_ylabel()
        assert any(other.get_xlabel() for other in below)
    assert png(figure).startswith(b"\x89PNG\r\n")


def test_best_so_far_ends_at_the_mean_over_seeds_of_the_summary(bowl_comparison):
    figure = anytime_figure(bowl_comparison.records)
    summary = bowl_comparison.summary().set_index(["strategy", "schedule"])
    assert [ax.get_title() for ax in panels(figure)] == SCHEDULES
    for ax in panels(figure):
        assert [line.get_label() for line in ax.lines] == ["grid", "range_test", "mine"]
        for line in ax.lines:
            assert line.get_ydata()[-1] == pytest.approx(summary.loc[(line.get_label(), ax.get_title()), "best"])
            assert (np.diff(line.get_ydata()) <= 0).all()
        assert ax.get_xlabel() == "steps spent, range tests included"
        assert ax.get_ylabel() == "best loss so far (log)"


def test_best_so_far_begins_at_the_mean_objective_of_step_0(bowl_comparison):
    evaluations = bowl_comparison.evaluations
    start = evaluations[evaluations["step"] == 0].groupby("seed")["loss"].first().mean()
    for ax in panels(anytime_figure(bowl_comparison.records)):
        assert all(line.get_xdata()[0] == 0 for line in ax.lines)
        assert [line.get_ydata()[0] for line in ax.lines] == pytest.approx([start] * 3)


def test_every_trial_is_a_point_at_its_lr_and_diverged_ones_are_crosses_at_the_start(bowl_comparison):
    trials = bowl_comparison.trials
    starts = bowl_comparison.evaluations.query("step == 0").groupby("seed")["loss"].first()
    for ax in panels(lr_figure(bowl_comparison.records)):
        here = trials[trials["schedule"] == ax.get_title()]
        points = np.concatenate([np.asarray(group.get_offsets()) for group in ax.collections])
        clipped = np.minimum(here["objective"], here["seed"].map(starts).astype(float))
        expected = np.column_stack([here["lr"], clipped])
        assert np.allclose(points[np.lexsort(points.T)], expected[np.lexsort(expected.T)])
        assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "peak learning rate (log)")


@pytest.mark.parametrize("tried", [(0.021, 0.09), (0.021, 0.045), (1e-5, 10.0), (0.1, 0.1)])
def test_an_lr_axis_has_labelled_ticks_however_narrow(tried):
    figure = lr_figure([study([(lr, 0.5) for lr in tried])])
    figure.draw_without_rendering()
    ax = figure.axes[0]
    low, high = ax.get_xlim()
    ticks = zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    assert len([place for place, label in ticks if low <= place <= high and label.get_text()]) >= 2


def test_a_learning_curve_is_drawn_for_every_trial(bowl_comparison):
    upper, lower = np.array(panels(learning_figure(bowl_comparison.records))).reshape(2, 2)
    for ax in (*upper, *lower):
        assert len(ax.lines) == len(bowl_comparison.trials) / 2
    assert [ax.get_ylabel().removesuffix(" (log)") for ax in (upper[0], lower[0])] == [
        "training loss",
        "validation loss",
    ]


def test_every_range_test_is_a_panel_with_its_losses_and_a_legend(bowl_comparison):
    figure = range_test_figure(bowl_comparison.records)
    curves = bowl_comparison.curves
    for seed, ax in enumerate(panels(figure)):
        assert f"seed {seed}" in ax.get_title()
        rows = curves[curves["seed"] == seed]
        raw = next(line for line in ax.lines if line.get_label() == "loss of each batch")
        assert raw.get_xdata() == pytest.approx(rows["lr"].to_numpy())
        assert raw.get_ydata() == pytest.approx(rows["loss"].to_numpy())
        named = [text.get_text().split()[0] for text in ax.get_legend().get_texts()]
        assert named == ["loss", "smoothed", "bounds", "suggestion", "prior"]
        assert ax.get_xlabel() == "learning rate (log)"


def test_a_schedule_is_drawn_at_its_best_lr(bowl_comparison):
    lines = {line.get_label(): line for line in panels(schedule_figure(bowl_comparison.records))[0].lines}
    drawn = {label: line for label, line in lines.items() if "peak" in label}
    assert [label.partition(",")[0] for label in drawn] == SCHEDULES
    constant = next(line for label, line in drawn.items() if label.startswith("constant"))
    best = bowl_comparison.summary().query("schedule == 'constant'")
    assert best["best_lr"].min() / 2 < constant.get_ydata()[0] < best["best_lr"].max() * 2
    assert len(set(constant.get_ydata())) == 1


def test_without_range_tests_there_is_no_figure_of_them():
    records = [study([(0.1, 0.5)])]
    assert range_test_figure(records) is None
    assert "range_tests" not in all_figures(records)
    assert len(all_figures(records)) == 4


def test_without_a_complete_trial_there_are_no_figures():
    assert all_figures([study([(0.1, "FAIL"), (0.2, "RUNNING")])]) == {}


NAMES = ["$\\frac$", "a$b$c", "_mine", "a|b\nc", "<b>", "%s", "x" * 300]


def test_names_are_drawn_as_they_are_whatever_they_hold():
    points = [(0.1, 0.5), (0.2, math.inf)]
    records = [
        study(points, strategy=name, schedule=schedule, optimizer=NAMES[1], objective=NAMES[0])
        for name in NAMES
        for schedule in (NAMES[0], "other")
    ]
    figures = all_figures(records)
    assert all(png(figure).startswith(b"\x89PNG") for figure, _ in figures.values())
    shown = texts(figures["best_so_far"][0])
    for expected in (r"\$\frac\$", r"a\$b\$c", " _mine", "a|b c", "<b>", "%s", "x" * 39 + "…"):
        assert expected in shown


HALF_DONE = {  # schedule -> trials, objective at step 0
    "has ended": ([(0.1, 0.5), (0.2, 0.4)], 1.0),
    "runs": ([(0.2, "RUNNING")], 1.0),
    "runs, and knows no LR yet": ([(0.1, 0.5), (math.nan, "RUNNING")], 1.0),
    "failed": ([(0.1, "FAIL")], 1.0),
    "diverged": ([(0.1, math.inf), (0.2, math.inf)], 1.0),
    "began non-finite": ([(0.1, math.inf), (0.2, 0.4)], math.nan),
    "negative, at one LR": ([(0.1, -5.0), (0.1, -5.0)], 1.0),
    "zero": ([(0.1, 0.0), (0.2, 0.0)], 0.0),
    "not begun": ([], 1.0),
}


@pytest.mark.parametrize(
    "schedules", [HALF_DONE, {"no loss is finite": ([(0.1, math.inf)], math.inf)}], ids=["mixed", "inf"]
)
def test_half_a_comparison_is_drawn_without_a_warning(schedules):
    records = [study(points, start=start, schedule=name) for name, (points, start) in schedules.items()]
    figures = [figure for figure, _ in all_figures(records).values()]
    assert len(figures) == 4
    for figure in figures:
        figure.draw_without_rendering()
    assert [ax.get_title() for ax in lr_figure(records).axes if ax.get_visible()] == list(schedules)


def test_the_legend_names_every_strategy_even_where_the_last_panel_has_none():
    records = [study([(0.1, 0.5)]), study([(0.1, 0.4)], strategy="random"), study([(0.2, "RUNNING")], schedule="sgdr")]
    legend = anytime_figure(records).axes[-1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["grid", "random"]
