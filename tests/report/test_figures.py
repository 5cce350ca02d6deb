"""The report's figures: what is drawn is what the tables hold, and a report's pictures say so in numbers."""

import math

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.markers import TICKDOWN
from scipy import stats

from lr_search.report.figures import (
    pictures,
    plot_anytime,
    plot_costs,
    plot_forest,
    plot_learning_curves,
    plot_objective_by_lr,
    plot_pruning,
    plot_range_test,
    plot_schedules,
    plot_timeline,
    shapes_frame,
)
from lr_search.report.figures.panels import Panels
from lr_search.report.plots.style import log_lr, new_figure, png, strategy_looks, svg
from lr_search.results.findings import Findings
from tests.helpers.study_records import study

# of two seeds, which give no interval, and of one worker
BOWL = ["best_so_far", "objective_by_lr", "range_tests", "learning_curves", "schedules", "costs"]
DRAW = {  # figure -> (function, the table of Findings that it draws)
    "anytime": (plot_anytime, lambda found: found.anytime()),
    "objective_by_lr": (plot_objective_by_lr, lambda found: found.trials),
    "learning_curves": (plot_learning_curves, lambda found: found.evaluations),
    "schedules": (plot_schedules, lambda found: shapes_frame(Panels(found))),
    "forest": (plot_forest, lambda found: found.pairwise()),
    "pruning": (plot_pruning, lambda found: found.trials),
    "costs": (plot_costs, lambda found: found.costs()),
    "timeline": (plot_timeline, lambda found: found.all_trials),
}


def panels(figure):
    """The visible axes that hold data, without colour bars."""
    return [
        ax for ax in figure.axes if ax.get_visible() and (ax.lines or ax.collections) and ax.get_label() != "<colorbar>"
    ]


def labelled(ax):
    """The lines that a legend names."""
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def by_name(records):
    return {picture.name: picture for picture in pictures(Findings("by hand", records))}


@pytest.fixture(scope="module")
def bowl(bowl_comparison):
    return Findings("bowl", bowl_comparison.records)


@pytest.fixture(scope="module")
def bowl_pictures(bowl):
    return {picture.name: picture for picture in pictures(bowl)}


@pytest.mark.parametrize("name", DRAW)
def test_a_figure_is_drawn_into_the_axes_that_are_given_or_into_new_ones(name, bowl):
    draw, table = DRAW[name]
    ax = new_figure(1, 1)[1][0, 0]
    assert draw(table(bowl), ax) is ax
    made = draw(table(bowl))
    assert isinstance(made, Axes)
    assert made is not ax
    assert made.get_xlabel()
    assert png(made.figure).startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("records", [[], [study([])]], ids=["no study", "no trial"])
def test_an_empty_table_is_drawn(name, records):
    draw, table = DRAW[name]
    ax = draw(table(Findings("empty", records)))
    ax.figure.draw_without_rendering()
    assert ax.get_xlabel()


def test_a_report_has_its_figures_in_order_each_with_words_and_a_table(bowl_pictures):
    assert list(bowl_pictures) == BOWL
    for picture in bowl_pictures.values():
        assert picture.whole
        assert 0 < len(picture.data) <= 10_000
        assert picture.title
        assert picture.finding.endswith(".")
        assert png(picture.figure).startswith(b"\x89PNG\r\n")


def test_every_panel_has_labelled_axes(bowl_pictures):
    for picture in bowl_pictures.values():
        for ax in panels(picture.figure):
            below = [other for other in panels(picture.figure) if other.get_position().x0 == ax.get_position().x0]
            assert ax.get_ylabel() or ax.get_yticklabels()[0].get_text()
            assert any(other.get_xlabel() for other in below)


def test_the_same_figure_is_the_same_svg(bowl_comparison):
    first, second = (svg(plot_anytime(Findings("bowl", bowl_comparison.records).anytime()).figure) for _ in range(2))
    assert first == second
    assert first.startswith(b"<?xml")
    assert b"<dc:date>" not in first


def test_a_scatter_of_very_many_trials_is_an_image_in_an_svg():
    rng = np.random.default_rng(0)
    few, many = (
        svg(plot_objective_by_lr(Findings("", [study([(lr, lr) for lr in rng.uniform(0.1, 1, n)])]).trials).figure)
        for n in (900, 1_100)
    )
    assert b"<image" not in few
    assert b"<image" in many
    assert len(many) < len(few)


STRATEGIES = ["grid", "random", "range_test", *(f"strategy {n}" for n in range(9))]


def test_a_strategy_looks_the_same_in_every_figure_and_whatever_part_of_a_table_is_drawn():
    records = [study([(0.1, 0.1 * n + 0.1), (0.2, "PRUNED")], strategy=name) for n, name in enumerate(STRATEGIES)]
    found = Findings("", records)
    looks = strategy_looks(STRATEGIES)
    whole = {name: line.get_color() for name, line in labelled(plot_anytime(found.anytime())).items()}
    assert whole == {name: looks[name].color for name in STRATEGIES}
    for name in STRATEGIES:
        anytime = plot_anytime(found.anytime()[found.anytime()["strategy"] == name])
        assert labelled(anytime)[name].get_color() == looks[name].color
        trials = found.trials[found.trials["strategy"] == name]
        for ax in (plot_objective_by_lr(trials), plot_pruning(trials)):
            shown = next(group for group in ax.collections if group.get_label().startswith(name))
            assert np.allclose(
                shown.get_facecolor()[0][:3], [int(looks[name].color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
            )
    forest = [line for line in plot_forest(found.pairwise()).lines if len(line.get_xdata()) == 1]
    assert [line.get_color() for line in forest] == [looks[name].color for name in STRATEGIES[1:]]


def test_no_two_of_many_strategies_look_alike_in_print():
    looks = strategy_looks(STRATEGIES)
    assert len({(look.color, look.marker, look.line) for look in looks.values()}) == len(STRATEGIES)
    assert len({(look.marker, look.line) for look in looks.values()}) == len(STRATEGIES)
    assert strategy_looks(reversed(STRATEGIES))["strategy 8"] == looks["strategy 8"]


THREE_SEEDS = {0: [0.5, 0.4], 1: [0.6, 0.6], 2: [0.4, 0.1]}  # seed -> objectives of two trials of 10 steps


def test_best_so_far_is_the_mean_over_seeds_with_a_t_interval():
    found = Findings("", [study([(0.1, a), (0.2, b)], seed=seed) for seed, (a, b) in THREE_SEEDS.items()])
    ax = plot_anytime(found.anytime(), starts={seed: 1.0 + seed for seed in THREE_SEEDS})
    line = labelled(ax)["grid"]
    assert line.get_xdata().tolist() == [0, 10, 20]
    assert line.get_ydata() == pytest.approx([2.0, 0.5, 1.1 / 3])
    low, high = stats.t.interval(0.95, 2, loc=1.1 / 3, scale=stats.sem([0.4, 0.6, 0.1]))
    edges = ax.collections[0].get_paths()[0].vertices
    last = edges[edges[:, 0] == 20][:, 1]
    assert [value for value in last if value == pytest.approx(low)]
    assert [value for value in last if value == pytest.approx(high)]
    assert ax.get_legend().get_title().get_text() == "band: 95% interval of the mean over seeds"


def test_with_two_seeds_the_band_is_their_range_and_with_one_there_is_none():
    found = Findings("", [study([(0.1, a), (0.2, b)], seed=seed) for seed, (a, b) in THREE_SEEDS.items() if seed < 2])
    ax = plot_anytime(found.anytime())
    edges = ax.collections[0].get_paths()[0].vertices
    assert sorted(set(np.round(edges[:, 1], 9))) == [0.4, 0.5, 0.6]
    assert ax.get_legend().get_title().get_text() == "band: range over seeds"
    alone = plot_anytime(found.anytime()[found.anytime()["seed"] == 0])
    assert not alone.collections
    assert alone.get_legend().get_title().get_text() == ""


def test_best_so_far_begins_at_step_0_and_ends_at_the_summarys_best(bowl, bowl_pictures):
    summary = bowl.summary(full=True).set_index(["strategy", "schedule"])
    start = (
        bowl.evaluations.query("step == 0 and metric == 'loss'").groupby("seed", observed=True)["value"].first().mean()
    )
    for ax in panels(bowl_pictures["best_so_far"].figure):
        lines = labelled(ax)
        assert list(lines) == ["grid", "range_test", "mine"]
        for name, line in lines.items():
            assert (line.get_xdata()[0], line.get_ydata()[0]) == (0, pytest.approx(start))
            assert line.get_ydata()[-1] == pytest.approx(summary.loc[(name, ax.get_title()), "best"])
        assert ax.get_xlabel() == "steps spent, range tests included"
        assert ax.get_ylabel() == "best validation loss so far (log)"


def test_the_finding_of_best_so_far_has_the_summarys_numbers():
    records = [study([(0.1, 0.9), (0.2, 0.2)]), study([(0.1, 0.2), (0.2, 0.1)], strategy="random")]
    assert by_name(records)["best_so_far"].finding == (
        "random under constant found the best validation loss: 0.1 in 20 steps. "
        "Steps until it was within 5% of the best known: random 20; not on every seed: grid."
    )


def test_every_trial_is_a_point_at_its_lr_and_diverged_ones_are_crosses_at_the_start(bowl, bowl_pictures):
    starts = bowl.evaluations.query("step == 0 and metric == 'loss'").groupby("seed", observed=True)["value"].first()
    for ax in panels(bowl_pictures["objective_by_lr"].figure):
        here = bowl.trials[bowl.trials["schedule"] == ax.get_title()]
        points = np.concatenate([np.asarray(g.get_offsets()) for g in ax.collections])
        clipped = np.minimum(here["objective"], here["seed"].map(starts).astype(float))
        expected = np.column_stack([here["lr"], clipped])
        assert np.allclose(points[np.lexsort(points.T)], expected[np.lexsort(expected.T)])
        name = (
            "learning rate" if ax.get_title() == "constant" else "peak learning rate"
        )  # which only moves where it has one
        assert (ax.get_xscale(), ax.get_xlabel()) == ("log", f"{name} (log)")


@pytest.mark.parametrize(("direction", "edge"), [("minimize", 0.6), ("maximize", 0.4)])
def test_without_starts_diverged_trials_are_drawn_at_the_worst_of_the_others(direction, edge):
    lost = math.inf if direction == "minimize" else -math.inf
    trials = Findings("", [study([(0.1, 0.6), (0.2, 0.4), (1.0, lost)], direction=direction)]).trials
    ax = plot_objective_by_lr(trials, direction=direction)
    assert np.asarray(ax.collections[1].get_offsets()).tolist() == [[1.0, edge]]


def test_the_fit_the_basin_and_the_best_lr_are_the_candidates(bowl, bowl_pictures):
    best = {candidate.schedule: candidate for candidate in bowl.candidates}
    for ax in panels(bowl_pictures["objective_by_lr"].figure):
        candidate, lines = best[ax.get_title()], labelled(ax)
        assert lines["fit, mean over seeds"].get_xdata() == pytest.approx(candidate.lrs)
        assert lines["fit, mean over seeds"].get_ydata() == pytest.approx(candidate.mean)
        assert lines["best LR"].get_xdata() == pytest.approx([candidate.lr] * 2)
        span = ax.patches[0].get_extents().transformed(ax.transData.inverted())
        assert (span.x0, span.x1) == pytest.approx(candidate.bounds)


def test_of_very_many_trials_two_thousand_are_drawn_from_the_lowest_lr_to_the_highest():
    lrs = np.geomspace(1e-4, 1, 5_000)
    records = [study([(float(lr), float(lr)) for lr in lrs])]
    found = by_name(records)["objective_by_lr"]
    points = np.asarray(panels(found.figure)[0].collections[0].get_offsets())
    assert len(points) == 2_000
    assert (points[0, 0], points[-1, 0]) == (lrs[0], lrs[-1])
    assert not found.whole
    assert "At most 2,000 trials a panel are drawn" in found.finding


@pytest.mark.parametrize("tried", [(0.021, 0.09), (0.021, 0.045), (1e-5, 10.0), (0.1, 0.1)])
def test_an_lr_axis_has_labelled_ticks_however_narrow(tried):
    ax = plot_objective_by_lr(Findings("", [study([(lr, 0.5) for lr in tried])]).trials)
    ax.figure.draw_without_rendering()
    low, high = ax.get_xlim()
    ticks = zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    assert len([place for place, label in ticks if low <= place <= high and label.get_text()]) >= 2


def test_without_a_complete_trial_there_are_no_figures_but_the_range_tests(bowl_comparison):
    assert by_name([study([(0.1, "FAIL"), (0.2, "RUNNING")])]) == {}
    assert by_name([]) == {}
    tests = [record for record in bowl_comparison.records if record.kind == "range_test"]
    assert list(by_name([*tests, study([(0.1, "FAIL")])])) == ["range_tests"]


NAMES = ["$\\frac$", "a$b$c", "_mine", "a|b\nc", "<b>", "%s", "x" * 300]


def test_names_are_drawn_as_they_are_whatever_they_hold():
    points = [(0.1, 0.5), (0.2, math.inf), (0.1, "PRUNED")]
    records = [
        study(points, strategy=name, schedule=schedule, optimizer=NAMES[1], objective=NAMES[0])
        for name in NAMES
        for schedule in (NAMES[0], "other")
    ]
    found = by_name(records)
    for picture in found.values():
        assert png(picture.figure).startswith(b"\x89PNG")
        assert b"<b>" not in svg(picture.figure)
    shown = texts(found["best_so_far"].figure)
    for expected in (r"\$\frac\$", " _mine", "a|b c", "<b>", "%s", f"{'x' * 26}…{'x' * 13}"):
        assert expected in shown


HALF_DONE = {  # schedule -> trials, objective at step 0
    "has ended": ([(0.1, 0.5), (0.2, 0.4)], 1.0),
    "runs": ([(0.2, "RUNNING")], 1.0),
    "runs, and knows no LR yet": ([(0.1, 0.5), (math.nan, "RUNNING")], 1.0),
    "failed": ([(0.1, "FAIL")], 1.0),
    "pruned": ([(0.1, "PRUNED")], 1.0),
    "diverged": ([(0.1, math.inf), (0.2, math.inf)], 1.0),
    "began non-finite": ([(0.1, math.inf), (0.2, 0.4)], math.nan),
    "negative, at one LR": ([(0.1, -5.0), (0.1, -5.0)], 1.0),
    "zero": ([(0.1, 0.0), (0.2, 0.0)], 0.0),
    "not begun": ([], 1.0),
}


@pytest.mark.parametrize(
    ("schedules", "more"),
    [(HALF_DONE, {"learning_curves", "pruning"}), ({"no loss is finite": ([(0.1, math.inf)], math.inf)}, set())],
    ids=["mixed", "inf"],
)
def test_half_a_comparison_is_drawn_without_a_warning(schedules, more):
    records = [study(points, start=start, schedule=name) for name, (points, start) in schedules.items()]
    found = by_name(records)
    assert {"best_so_far", "objective_by_lr"} | more == found.keys() - {"costs"}
    for picture in found.values():
        picture.figure.draw_without_rendering()
    titles = [ax.get_title() for ax in found["objective_by_lr"].figure.axes if ax.get_visible()]
    assert sorted(titles) == sorted(schedules)


def test_what_says_nothing_is_not_drawn():
    alike = [study([(0.1, 0.5), (0.2, 0.4)], strategy=name) for name in ("grid", "random")]
    assert list(by_name(alike)) == ["best_so_far", "objective_by_lr", "learning_curves"]
    less = [*alike, study([(0.1, 0.5)], strategy="tpe")]
    assert "costs" in by_name(less)  # of unlike length


def test_of_very_many_schedules_the_best_twelve_have_panels():
    records = [study([(0.1, 0.9 - 0.05 * n)], schedule=f"schedule {n}") for n in range(15)]
    found = by_name(records)["best_so_far"]
    assert [ax.get_title() for ax in panels(found.figure)] == [f"schedule {n}" for n in range(14, 2, -1)]
    assert found.finding.endswith("Of 15 schedules and optimizers the 12 best are drawn.")
    assert not found.whole


def test_the_legend_names_every_strategy_once_even_where_the_last_panel_has_none():
    records = [study([(0.1, 0.5)]), study([(0.1, 0.4)], strategy="random"), study([(0.2, "RUNNING")], schedule="sgdr")]
    legend = by_name(records)["best_so_far"].figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["grid", "random"]


def test_no_legend_covers_data(bowl_pictures):
    for picture in bowl_pictures.values():
        picture.figure.draw_without_rendering()
        boxes = [legend.get_window_extent() for legend in picture.figure.legends]
        boxes += [ax.get_legend().get_window_extent() for ax in panels(picture.figure) if ax.get_legend()]
        for box in boxes:
            assert not any(box.overlaps(ax.get_window_extent()) for ax in panels(picture.figure))


def test_a_range_test_shows_its_losses_and_the_lrs_that_won(bowl, bowl_pictures):
    for seed, ax in enumerate(panels(bowl_pictures["range_tests"].figure)):
        assert f"seed {seed}" in ax.get_title()
        rows, lines = bowl.curves[bowl.curves["seed"] == seed], labelled(ax)
        assert lines["loss of each batch"].get_xdata() == pytest.approx(rows["lr"].to_numpy())
        assert lines["loss of each batch"].get_ydata() == pytest.approx(rows["loss"].to_numpy())
        mine = bowl.trials[(bowl.trials["seed"] == seed) & (bowl.trials["strategy"] == "range_test")]
        best = mine.loc[mine.groupby("schedule", observed=True)["objective"].idxmin(), "lr"]
        assert sorted(lines["best of range_test"].get_xdata()) == pytest.approx(sorted(best))
        assert ax.get_xlabel() == "learning rate (log)"
        assert "suggestion" in ax.get_title()


def test_a_range_test_shows_the_prior_that_is_given(bowl_comparison):
    record = next(each for each in bowl_comparison.records if each.kind == "search" and each.prior is not None)
    curve = next(each for each in bowl_comparison.records if each.kind == "range_test").curves[0]
    ax = plot_range_test(curve, prior=record.prior, won=[("grid", 0.1)])
    band = next(group for group in ax.collections if group.get_label() == "prior of the search")
    top = band.get_paths()[0].vertices
    assert top[top[:, 1].argmax(), 0] == pytest.approx(record.prior.mode, rel=0.05)
    assert "prior over the best LR" not in [group.get_label() for group in ax.collections]
    assert labelled(ax)["best of grid"].get_xdata() == [0.1]


# ---- files ----


def test_minor_ticks_of_a_log_axis_are_one_line_at_the_same_places():
    figure, axes = new_figure(1, 1)
    axes[0, 0].plot([0.01, 10.0], [1.0, 2.0])
    log_lr(axes[0, 0])
    axes[0, 0].set_xlim(0.01, 10.0)
    assert png(figure)[:4] == b"\x89PNG"
    (ticks,) = (line for line in figure.artists if line.get_marker() == TICKDOWN)
    assert len(axes[0, 0].lines) == 1
    expected = [digit * 10.0**decade for decade in (-2, -1, 0) for digit in range(2, 10)]
    assert ticks.get_xdata() == pytest.approx(expected)
    assert len(axes[0, 0].xaxis.get_minorticklocs()) == 0
    labels = [label.get_text() for label in axes[0, 0].get_xticklabels()]
    assert [text for text in labels if text in ("10⁻²", "10⁻¹", "10⁰", "10¹")] == ["10⁻²", "10⁻¹", "10⁰", "10¹"]
