"""Range tests, with the prior of the studies that waited for them and the LRs that won."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lr_search.curves.curve import LRCurve
from lr_search.curves.prior import LRPrior
from lr_search.kinds.checked import checked
from lr_search.report.figures.panels import SHORT, Panels, panel_grid
from lr_search.report.figures.picture import Picture, legend_below, name_list, new_picture, shared_legend
from lr_search.report.plots.curve_plot import plot_curve
from lr_search.report.plots.style import PALETTE, Look, own_axes, plain, short_number, strategy_looks
from lr_search.results.anytime import best_trial
from lr_search.storage.records import StudyRecord

MOST_CURVES = 12  # in one figure
_PRIOR_SHARE = 0.2  # of the axes' height that the prior's highest point takes
RUG = 0.06  # of the axes' height that a winner's line takes
ENDED = {"finished": "reached its end", "diverged": "diverged", "non_finite": "loss non-finite"}
Won = tuple[str, float]  # strategy, LR


@checked
def plot_range_test(
    curve: LRCurve,
    ax: Axes | None = None,
    *,
    prior: LRPrior | None = None,
    won: Sequence[Won] = (),
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
) -> Axes:
    """Draw a range test's loss (see `plot_curve`), the prior that a study had, and the LRs at which searches found their best.

    Args:
        curve: a range test's record.
        ax: where to draw; default: a new figure.
        prior: that a study took from it; default: the curve's own.
        won: (strategy, LR) of the best trial of each search: lines on the lower edge.
        looks: of strategies; default: by the names in `won`.
        legend: whether to draw one, under the axes.

    Returns:
        The Axes.
    """
    ax = own_axes(ax)
    plot_curve(curve, ax, legend=False)
    low, high = ax.get_xlim()
    if prior is not None:
        _draw_prior(ax, prior)
    looks = {**strategy_looks(strategy for strategy, _ in won), **(looks or {})}
    for strategy in dict.fromkeys(strategy for strategy, _ in won):
        places = [lr for name, lr in won if name == strategy and np.isfinite(lr)]
        look = looks[strategy]
        ax.plot(
            places, [RUG] * len(places), look.marker, color=look.color, markersize=6, markeredgecolor="white",
            markeredgewidth=0.6, transform=ax.get_xaxis_transform(), label=f"best of {plain(strategy, SHORT)}", zorder=5,
        )  # fmt: skip
        ax.vlines(places, 0, RUG, transform=ax.get_xaxis_transform(), color=look.color, linewidth=1.4, zorder=5)
    shown = [lr for _, lr in won if np.isfinite(lr) and lr > 0]
    if shown and low > 0:
        ax.set_xlim(min(low, min(shown) / 1.1), max(high, max(shown) * 1.1))
    if legend:
        legend_below(ax, ncols=2)
    return ax


def _draw_prior(ax: Axes, prior: LRPrior) -> None:
    """The study's prior instead of the curve's own."""
    for own in [artist for artist in ax.collections if artist.get_label() == "prior over the best LR"]:
        own.remove()
    low, high = (max(edge, 1e-300) for edge in ax.get_xlim())
    lrs = np.geomspace(max(low, prior.low), max(min(high, prior.high), low * 1.01), 300)
    density = prior.pdf(lrs)
    ax.fill_between(
        lrs, 0, _PRIOR_SHARE * density / (density.max() or 1.0), transform=ax.get_xaxis_transform(), color=PALETTE[4],
        alpha=0.4, linewidth=0, label="prior of the search",
    )  # fmt: skip


def winners(searches: Sequence[StudyRecord], optimizer: str, seed: int) -> list[Won]:
    """(strategy, LR) of the best trial of each search of that optimizer and seed that found something better than step 0."""
    won = []
    for study in searches:
        if (study.plan["optimizer"], study.plan["seed"]) == (optimizer, seed):
            best = best_trial(study)
            if best is not None and np.isfinite(best.value) and study.clipped(best.value) != study.worst:
                won.append((str(study.plan["strategy"]), best.lr))
    return won


def range_tests_picture(panels: Panels) -> Picture | None:
    """Each range test, two a row; None where there is none."""
    findings = panels.findings
    tests = [(study, curve) for study in findings.records if study.kind == "range_test" for curve in study.curves]
    if not tests:
        return None
    shown = tests[:MOST_CURVES]
    figure, axes = panel_grid(len(shown), columns=2, width=4.9 if len(shown) > 1 else 6.4, height=4.3)
    sentences, factors = [], []
    for (study, curve), ax in zip(shown, axes, strict=True):
        optimizer, seed = str(study.plan["optimizer"]), study.plan["seed"]
        won = winners(findings.searches, optimizer, seed)
        prior = _prior(findings.searches, optimizer, seed)
        plot_range_test(curve, ax, prior=prior, won=won, looks=panels.looks, legend=False)
        numbers = [_unnumbered(line) for line in ax.lines]
        ended = f"{plain(optimizer, SHORT)}, seed {seed}: {curve.num_steps} steps, {ENDED[curve.stopped]}"
        ax.set_title("\n".join([ended, *filter(None, numbers)]), fontsize=10)
        lr = curve.suggest().lr
        factors += [best / lr for _, best in won]
        sentences.append(f"{optimizer}, seed {seed}: {short_number(lr)}")
    shared_legend(figure)
    finding = [f"Suggested: {name_list(sentences)}.", _compared(factors)]
    finding += [f"Of {len(tests)} range tests the first {MOST_CURVES} are drawn."] if len(tests) > MOST_CURVES else []
    keys = findings.curves[["optimizer", "seed", "curve"]]
    first = {(str(s.plan["optimizer"]), s.plan["seed"]) for s, _ in shown}
    kept = [(o, s) in first for o, s in zip(keys["optimizer"].astype(str), keys["seed"], strict=True)]
    data = findings.curves[kept]
    return new_picture(
        "range_tests", "Range tests: loss against learning rate", finding, figure, data, len(tests) <= MOST_CURVES
    )


def _unnumbered(line: Line2D) -> str:
    """The label of the suggestion or the bounds, which then is one for all panels; empty for other lines."""
    label = str(line.get_label())
    for word in ("suggestion", "bounds"):
        if label.startswith(f"{word} "):
            line.set_label(word)
            return label
    return ""


def _prior(searches: Sequence[StudyRecord], optimizer: str, seed: int) -> LRPrior | None:
    """The prior of the first search of that optimizer and seed that has one."""
    same = [s for s in searches if (s.plan["optimizer"], s.plan["seed"]) == (optimizer, seed)]
    return next((study.prior for study in same if study.prior is not None), None)


def _compared(factors: Sequence[float]) -> str:
    """How far from the suggestions the winners lie."""
    if not factors:
        return ""
    low, high = short_number(min(factors)), short_number(max(factors))
    return f"The searches found their best LRs at {low} to {high} times that, {short_number(float(np.median(factors)))} in the middle."
