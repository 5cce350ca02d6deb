"""The picture of a range test: what is drawn where, on any curve, without a display and without pyplot."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

import lr_search as lrs
from lr_search.curves.curve import LRCurve
from lr_search.report.plots import curve_plot as curve_figure
from lr_search.report.plots.style import png
from tests.helpers.marks import usually

LR = np.geomspace(1e-6, 10, 120)


def bowl(lr=LR, seed=0, **settings):
    """Falls about 0.003, blows up about 0.5."""
    noise = np.random.default_rng(seed).normal(0, 0.03, len(lr))
    return LRCurve(lr, 2.3 - 1.8 / (1 + (0.003 / np.maximum(lr, 1e-9)) ** 1.5) + (lr / 0.5) ** 3 + noise, **settings)


def full():
    """A curve with everything that can be recorded."""
    accuracy = 1 / (1 + (0.01 / LR) ** 2)
    metrics = {"valid_loss": bowl(seed=1).loss, "valid_accuracy": accuracy, "perplexity": 50 - 40 * accuracy}
    return bowl(gain_ratio=1 - LR / 0.2, metrics=metrics | {"predicted_reduction": LR, "reduction": LR - LR**2 / 0.2})


def panels(curve, **options):
    return {ax.get_ylabel().split("\n")[0]: ax for ax in curve.plot(**options).figure.axes}


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax, label):
    return next(found for found in ax.lines if found.get_label().startswith(label))


def vertical(ax):
    """The LR at which the suggestion's line stands."""
    return next(found for found in ax.lines if found.get_linestyle() == "--").get_xdata()[0]


def words(figure):
    """Every text a reader sees, with the box it takes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    ticks = {text for axis in axes for text in axis.findobj(Text)} - {axis.label for axis in axes}
    found = [text for text in figure.findobj(Text) if text.get_visible() and text not in ticks]
    for ax in figure.axes:
        for axis, (low, high) in ((ax.xaxis, sorted(ax.get_xlim())), (ax.yaxis, sorted(ax.get_ylim()))):
            shown = all(tick.label1.get_visible() for tick in axis.get_major_ticks())
            places = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
            found += [label for place, label in places if shown and low <= place <= high]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in found if text.get_text().strip()]


def test_the_loss_is_drawn_raw_and_smoothed_with_suggestion_bounds_and_prior():
    curve = bowl()
    ax = curve.plot()
    suggestion, bounds = curve.suggest(), curve.bounds()
    raw, smoothed = line(ax, "loss of each batch"), line(ax, "smoothed")
    assert raw.get_linestyle() == "None"
    assert raw.get_xydata() == pytest.approx(np.column_stack([curve.lr, curve.loss]))
    assert smoothed.get_xydata() == pytest.approx(np.column_stack([curve.lr, curve.smoothed]))
    assert line(ax, "suggestion").get_xdata() == pytest.approx([suggestion.lr] * 2)
    assert line(ax, "bounds").get_xdata() == pytest.approx(bounds)
    prior = next(group for group in ax.collections if group.get_label().startswith("prior"))
    outline = prior.get_paths()[0].vertices
    assert outline[outline[:, 1].argmax(), 0] == pytest.approx(lrs.LRPrior.from_curves([curve]).mode, rel=0.1)
    assert [label.split()[0] for label in labels(ax)] == ["loss", "smoothed", "bounds", "suggestion", "prior"]
    assert f"{bounds[0]:.2g} to {bounds[1]:.2g}" in labels(ax)[2]
    assert ax.get_xscale() == "log"


def test_the_headline_is_the_answer_and_the_caption_the_reason():
    curve = bowl()
    found = curve.suggest()
    figure = curve.plot().figure
    assert f"learning rate {found.lr:.2g} " in figure.get_suptitle()
    assert figure.get_suptitle().endswith(" ok")
    assert f"{10**found.log10_std:.2g})" in figure.get_suptitle()
    assert found.reason in figure.get_supxlabel().replace("\n", " ")
    assert f"{curve.steps_charged} steps" in figure.get_supxlabel()


def test_a_suggestion_that_is_not_ok_is_in_another_colour():
    flat = LRCurve(LR, 2.3 + np.random.default_rng(0).normal(0, 0.05, len(LR)))
    assert flat.suggest().status == "flat"
    colors = {to_rgb(curve.plot().figure._suptitle.get_color()) for curve in (bowl(), flat)}
    assert len(colors) == 2
    assert flat.plot().figure.get_suptitle().endswith(" flat")


def test_the_phases_are_shaded_from_edge_to_edge_and_named():
    curve = bowl()
    found = curve.phases()
    ends = [LR[0], found.descent_lr, found.blow_up_lr, LR[-1]]
    axes = curve.plot().figure.axes
    for ax in axes:
        shapes = [patch.get_path().transformed(patch.get_patch_transform()) for patch in ax.patches]
        spans = [tuple(shape.get_extents().intervalx) for shape in shapes]
        for span in itertools.pairwise(ends):
            assert any(span == pytest.approx(other) for other in spans)
        shades = {to_rgb(patch.get_facecolor()) for patch in ax.patches}
        assert len(shades) >= 3
    names = [text for text, _ in words(axes[0].figure)]
    assert {"too slow", "descending", "blowing up"} <= set(names)


def test_where_no_descent_stands_out_the_picture_says_so():
    flat = LRCurve(LR, np.random.default_rng(0).normal(0, 1, len(LR)))
    names = [text for text, _ in words(flat.plot().figure)]
    assert "no descent stands out" in names
    assert not {"too slow", "descending", "blowing up"} & set(names)


def test_there_is_a_panel_for_each_thing_that_was_recorded():
    found = panels(full(), lr_against_step=True)
    assert list(found) == ["training loss", "slope", "gain ratio", "metric", "learning rate"]  # two of metrics
    assert list(panels(bowl())) == ["training loss", "slope"]
    figure = full().plot().figure
    assert [labels(ax) for ax in figure.axes[3:]] == [["valid_accuracy"], ["perplexity"]]
    assert "valid_loss" in labels(figure.axes[0])


def test_the_slope_is_the_curves_and_the_descent_is_in_view():
    curve = bowl()
    ax = panels(curve)["slope"]
    drawn = ax.lines[1]
    assert drawn.get_xydata() == pytest.approx(np.column_stack([curve.lr, curve.slope]))
    assert ax.get_ylim()[0] < curve.slope.min()
    assert ax.get_ylim()[1] < curve.slope.max()  # the blow-up's would flatten the rest
    assert "per decade" in ax.get_ylabel()


def test_the_gain_ratio_is_cut_off_and_its_crossings_are_marked():
    curve = full()
    ax = panels(curve)["gain ratio"]
    dots = next(found for found in ax.lines if found.get_marker() == ".")
    assert dots.get_ydata() == pytest.approx(np.clip(curve.gain_ratio, -1, 2))
    levels = {found.get_ydata()[0] for found in ax.lines if len(set(found.get_ydata())) == 1}
    assert {0.0, 0.5, 1.0} <= levels
    marks = [found.get_xydata()[0] for found in ax.lines if found.get_marker() == "D"]
    # 1 - lr / 0.2 is 1/2 at 0.1 and 0 at 0.2, the smoothing aside
    assert [mark[1] for mark in marks] == [0.5, 0.0]
    assert [mark[0] for mark in marks] == pytest.approx([0.1, 0.2], rel=0.25)


def test_a_gain_ratio_that_was_nowhere_measurable_has_no_panel():
    assert "gain ratio" not in panels(bowl(gain_ratio=np.full(len(LR), np.nan)))


def test_every_panel_over_the_lr_has_the_same_axis_and_the_lowest_names_it():
    *over_lr, steps = full().plot(lr_against_step=True).figure.axes
    assert len({ax.get_xlim() for ax in over_lr}) == 1
    assert [bool(ax.get_xlabel()) for ax in over_lr] == [False] * (len(over_lr) - 1) + [True]
    assert {vertical(ax) for ax in over_lr} == {full().suggest().lr}
    assert "step" in steps.get_xlabel()
    assert steps.lines[0].get_xydata() == pytest.approx(np.column_stack([np.arange(len(LR)), LR]))
    assert steps.get_yscale() == "log"


def test_a_linear_ramp_has_a_linear_axis_from_0():
    curve = bowl(np.linspace(0, 1, 100), ramp="linear")
    found = panels(curve, lr_against_step=True)
    assert found["training loss"].get_xscale() == "linear"
    assert found["training loss"].get_xlim()[0] <= 0 < found["training loss"].get_xlim()[1]
    assert line(found["training loss"], "loss").get_xdata()[0] == 0
    assert "per unit of LR" in found["slope"].get_ylabel()
    assert found["learning rate"].get_yscale() == "linear"


def test_another_rule_moves_the_line():
    curve = bowl()
    places = {rule: vertical(curve.plot(rule=rule)) for rule in ("steepest", "minimum")}
    assert places == {rule: pytest.approx(curve.suggest(rule).lr) for rule in places}
    with pytest.raises(lrs.errors.UnknownNameError, match="valey"):
        curve.plot(rule="valey")


def test_pooled_curves_are_a_band_with_thin_lines_and_ticks():
    curves = [bowl(LR[:length], seed=seed, stopped="diverged") for seed, length in enumerate((100, 105, 110, 120))]
    pooled = LRCurve.pool(curves)
    ax = pooled.plot()
    ticks = line(ax, "suggestion of each seed")
    assert ticks.get_xdata() == pytest.approx([curve.suggest().lr for curve in curves])
    thin = [found for found in ax.lines if 0 < found.get_linewidth() < 1 and len(found.get_xdata()) > 50]
    assert [len(found.get_xdata()) for found in thin] == [100, 105, 110, 110]  # as long as the pooled curve
    band = next(group for group in ax.collections if "deviation" in group.get_label())
    outline = band.get_paths()[0].vertices
    smoothed = np.array([curve.smoothed[:100] for curve in curves])
    at = 60
    values = outline[np.isclose(outline[:, 0], LR[at]), 1]
    expected = pooled.smoothed[at] + smoothed[:, at].std() * np.array([-1, 1])
    assert [values.min(), values.max()] == pytest.approx(expected)
    assert "4 seeds" in labels(ax)[0]
    assert "over 4 seeds" in ax.figure.get_supxlabel()


# ---- where it is drawn ----


def test_one_ax_holds_the_loss_alone_and_keeps_its_title():
    figure = Figure()
    ax, other = figure.subplots(1, 2)
    ax.set_title("mine")
    assert full().plot(ax) is ax
    assert (ax.get_title(), ax.get_ylabel(), ax.get_xlabel()) == ("mine", "training loss", "learning rate (log)")
    assert figure.get_suptitle() == ""
    assert figure.axes == [ax, other]
    assert not other.lines
    assert len(labels(ax)) == 6
    assert full().plot(other, legend=False).get_legend() is None


def test_several_axes_hold_as_many_panels():
    axes = Figure().subplots(3, 1)
    assert full().plot(axes) is axes[0]
    assert [ax.get_ylabel().split("\n")[0] for ax in axes] == ["training loss", "slope", "gain ratio"]
    assert axes[-1].get_xlabel() == "learning rate (log)"
    with pytest.raises(lrs.errors.InvalidInputError, match="1 to 2 Axes, for loss, slope, but got 3"):
        bowl().plot(axes)


@pytest.mark.processes
def test_it_needs_no_display_and_no_pyplot(tmp_path):
    bowl().save(tmp_path / "curve.json")
    code = (
        "import os, sys\n"
        "os.environ.pop('DISPLAY', None); os.environ.pop('MPLBACKEND', None)\n"
        "import lr_search as lrs\n"
        "lrs.LRCurve.load('curve.json').plot().figure.savefig('curve.png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_pyplots_figures_and_settings_stay_as_they_are():
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    png(bowl().plot().figure)
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


# ---- any curve ----


def short(length, stopped, ramp):
    lr = np.linspace(0, 1, 20)[-length:] if ramp == "linear" else np.geomspace(1e-4, 1, 20)[:length]
    return LRCurve(lr, 2 + 0.01 * np.random.default_rng(0).normal(size=length), stopped=stopped, ramp=ramp)


ODD = (
    "times -1e+30",
    "constant 0",
    "holes",
    "infinite",
    "odd names",
    "pooled, short",
    "1 steps, diverged, linear",
    "7 steps, finished, exponential",
)


def odd_curves():
    base, holes = bowl().loss, np.where(np.arange(len(LR)) % 3 == 0, np.nan, 1 - LR / 0.2)
    nothing, infinite = np.full(len(LR), np.nan), np.where(LR > 1, np.inf, base)
    for scale in (1e30, -1e30, 1e-300):
        yield f"times {scale:g}", LRCurve(LR, base * scale)
    for value in (0.0, -3.0, 1e30):
        yield f"constant {value:g}", LRCurve(LR, np.full(len(LR), value))
    yield "ends at 1e30", LRCurve(LR, np.where(LR > 1, 1e30, base), stopped="diverged")
    yield "nan", bowl(gain_ratio=nothing, metrics={"valid_loss": nothing, "valid_accuracy": nothing})
    yield "holes", bowl(gain_ratio=holes, metrics={"valid_loss": holes, "valid_accuracy": np.abs(holes) % 1})
    yield "infinite", bowl(gain_ratio=infinite, metrics={"valid_loss": infinite, "perplexity": -infinite})
    yield "odd names", bowl(metrics={r"$\frac$": base, "_mine": base, "a\nb": base, "x" * 300: base / 10})
    yield "first LR 0", bowl(np.r_[0, LR[1:]])
    yield "cut off", LRCurve.from_arrays(LR, np.where(LR > 1, np.nan, base))
    yield "narrow", bowl(np.linspace(0.1, 0.101, 50))
    yield "pooled, short", LRCurve.pool([short(length, "diverged", "exponential") for length in (1, 1, 3)])
    ways = ("finished", "exponential"), ("diverged", "linear")
    for length, (stopped, ramp) in itertools.product((1, 2, 3, 7, 20), ways):
        yield f"{length} steps, {stopped}, {ramp}", short(length, stopped, ramp)


@pytest.mark.parametrize(("name", "curve"), usually(ODD, (pytest.param(*found, id=found[0]) for found in odd_curves())))
def test_an_odd_curve_is_drawn_without_a_warning(name, curve):
    ax = curve.plot(lr_against_step=True)
    ax.figure.draw_without_rendering()
    assert all(np.isfinite([*each.get_xlim(), *each.get_ylim()]).all() for each in ax.figure.axes)
    low, high = ax.get_ylim()
    assert low <= curve.start <= high
    left, right = ax.get_xlim()
    assert left <= curve.suggest().lr <= right


def crowded():
    yield "full", full()
    yield "pooled", LRCurve.pool([bowl(seed=seed) for seed in range(4)])
    yield "linear", bowl(np.linspace(0, 5, 100), ramp="linear", gain_ratio=1 - np.linspace(0, 5, 100) / 2)
    yield "narrow blow-up", bowl(LR[:104], stopped="diverged")
    yield "diverged at the start", short(5, "diverged", "exponential")
    yield "flat", LRCurve(LR, np.random.default_rng(0).normal(0, 1, len(LR)))


@pytest.mark.parametrize(
    ("name", "curve"), usually(["full", "narrow blow-up"], (pytest.param(*found, id=found[0]) for found in crowded()))
)
def test_no_text_lies_over_another_or_leaves_the_picture(name, curve):
    figure = curve.plot(lr_against_step=True).figure
    found = words(figure)
    assert len(found) > 15
    for (one, box), (other, second) in itertools.combinations(found, 2):
        assert not box.shrunk(0.98, 0.8).overlaps(second.shrunk(0.98, 0.8)), (one, other)
    for text, box in found:
        assert figure.bbox.x0 - 1 <= box.x0, text
        assert box.x1 <= figure.bbox.x1 + 1, text


def test_the_names_of_the_phases_fit_into_a_panel_of_a_report():
    figure = Figure(figsize=(2.2, 2.0), layout="constrained")
    ax = figure.subplots()
    assert isinstance(curve_figure.plot_curve(bowl(LR[:104], stopped="diverged"), ax, legend=False), Axes)
    names = [(text, box) for text, box in words(figure) if text in ("too slow", "descending", "blowing up")]
    boxes = [box for text, box in names if box.width]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
