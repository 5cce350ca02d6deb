"""The panels of a range test's picture: loss, its slope, other metrics, the gain ratio, LR against step."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from lr_search.curves.gain_crossing import gain_crossing
from lr_search.curves.prior import LRPrior
from lr_search.report.plots.curve_view import BLOWING_UP, DESCENDING, NO_DESCENT, TOO_SLOW, View
from lr_search.report.plots.phase_names import NamesInARow
from lr_search.report.plots.style import GREY, PALETTE, plain, short_number

RAW, SMOOTH, _SUGGESTED, BOUNDS, PRIOR = GREY, PALETTE[0], PALETTE[3], PALETTE[2], PALETTE[4]
METRICS = [PALETTE[1], PALETTE[2], PALETTE[4], PALETTE[6]]
SHADES = {TOO_SLOW: "#ededed", NO_DESCENT: "#ededed", DESCENDING: "#ffffff", BLOWING_UP: "#fbe9c6"}
NAMED = {TOO_SLOW: "#d9d9d9", NO_DESCENT: "#d9d9d9", DESCENDING: "#dceefb", BLOWING_UP: "#f3cf84"}
_PRIOR_SHARE = 0.2  # of the panel's height that the prior's highest point takes
STRIP = 0.1  # of the panel's height, at its top, that is kept for the phases' names
LABEL = 26  # letters in a line of a legend
LEVELS = {1.0: "1, the step is small", 0.5: "1/2, at 1/curvature", 0.0: "0, edge of stability"}
GAIN_RANGE = (-1.0, 2.0)


def shade_phases(view: View, ax: Axes) -> None:
    """Shade the phases: too slow in grey, descending in white, blowing up in orange."""
    for name, low, high in view.phases:
        ax.axvspan(low, high, facecolor=SHADES[name], linewidth=0, zorder=0)


def name_phases(view: View, ax: Axes) -> None:
    """Name the phases in a strip at the top, over the data."""
    for name, low, high in view.phases:
        ax.axvspan(low, high, ymin=1 - STRIP, facecolor=NAMED[name], edgecolor="white", linewidth=1, zorder=4)
    NamesInARow(ax, [name for name, _, _ in view.phases], [(low, high) for _, low, high in view.phases], STRIP)


def draw_suggestion(view: View, ax: Axes, label: str | None = None) -> None:
    """A line at the LR that is suggested, up to the phases' names."""
    ax.axvline(
        view.suggestion.lr, ymax=1 - STRIP, color=_SUGGESTED, linewidth=1.6, linestyle="--", label=label, zorder=3
    )


def draw_loss(view: View, ax: Axes) -> None:
    """Loss raw and smoothed, pooled curves as a band, the suggestion, the bounds, the prior."""
    curve, there, seeds = view.curve, view.there(), len(view.curve.members)
    low, high = view.loss_range
    label = f"loss, mean of {seeds} seeds" if seeds > 1 else "loss of each batch"
    ax.plot(curve.lr[there], curve.loss[there], ".", color=RAW, alpha=0.45, markersize=3.5, linewidth=0, label=label)
    ax.plot(curve.lr[there], curve.smoothed[there], color=SMOOTH, linewidth=1.9, zorder=3, label="smoothed")
    for (name, line), color in zip(view.losses.items(), METRICS, strict=False):
        ax.plot(curve.lr[there], line[there], color=color, linewidth=1.5, linestyle="-.", label=_label(name))
    if seeds > 1:
        _draw_members(view, ax)
    bounds, level = view.bounds, high - 1.6 * STRIP * (high - low)
    label = f"bounds {short_number(bounds[0])} to {short_number(bounds[1])}"
    ax.plot(bounds, [level, level], "|-", color=BOUNDS, linewidth=2.4, markersize=9, zorder=3, label=label)
    suggestion = view.suggestion
    draw_suggestion(
        view, ax, label=f"suggestion {short_number(suggestion.lr)} ({suggestion.rule}, {suggestion.status})"
    )
    _draw_prior(view, ax)
    ax.set_ylim(low, high)
    ax.set_ylabel("training loss")


def _draw_members(view: View, ax: Axes) -> None:
    """The band of one standard deviation over pooled curves, each curve as a thin line, each suggestion as a tick."""
    curve, there, spread = view.curve, view.there(), view.spread
    below, above = ((curve.smoothed + sign * spread)[there] for sign in (-1, 1))
    ax.fill_between(
        curve.lr[there], below, above, color=SMOOTH, alpha=0.2, linewidth=0, label="± 1 deviation over seeds"
    )
    for member in curve.members:
        shown = view.there(member)
        ax.plot(member.lr[shown], member.smoothed[shown], color=SMOOTH, linewidth=0.7, alpha=0.6)
    lrs = [member.suggest(view.rule).lr for member in curve.members]
    ax.plot(
        lrs, np.full(len(lrs), 0.02), "|", transform=ax.get_xaxis_transform(), color=_SUGGESTED, markersize=10,
        markeredgewidth=1.6, linewidth=0, label="suggestion of each seed", zorder=4,
    )  # fmt: skip


def _draw_prior(view: View, ax: Axes) -> None:
    low, high = view.lr_range
    low = low if low > 0 else min(view.curve.first_lr, view.suggestion.lr)
    prior = LRPrior.from_curves([view.curve], lr_range=(low, high))
    lrs = np.geomspace(low, high, 300)
    density = prior.pdf(lrs)
    ax.fill_between(
        lrs, 0, _PRIOR_SHARE * density / density.max(), transform=ax.get_xaxis_transform(), color=PRIOR, alpha=0.4,
        linewidth=0, label="prior over the best LR",
    )  # fmt: skip


def draw_slope(view: View, ax: Axes) -> None:
    """The slope of the smoothed loss; where it rises faster than it ever fell, it is cut off."""
    curve = view.curve
    ax.axhline(0, color=RAW, linewidth=0.8)
    ax.plot(curve.lr[view.there()], curve.slope[view.there()], color=SMOOTH, linewidth=1.6)
    draw_suggestion(view, ax)
    fastest = max(0.0, -float(np.nanmin(curve.slope)))
    reach = (fastest or float(np.nanmax(curve.slope))) or 1.0
    ax.set_ylim(-1.2 * reach, 1.2 * reach)
    ax.set_ylabel("slope\n" + ("per unit of LR" if view.linear else "per decade"))


def draw_gain_ratio(view: View, ax: Axes) -> None:
    """The gain ratio raw (cut off at the panel's edges) and smoothed, with what its levels mean."""
    curve, there, (low, high) = view.curve, view.there(), GAIN_RANGE
    assert curve.gain_ratio is not None
    assert curve.smoothed_gain_ratio is not None
    for level, meaning in LEVELS.items():
        crossed = gain_crossing(curve, level) if level < 1 else None
        text = meaning if crossed is None else f"{meaning}: {short_number(crossed)}"
        ax.axhline(level, color=RAW, linewidth=0.8, linestyle=":" if level == 0.5 else "-")
        ax.annotate(
            text, (1, level), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=8,
            va="center",
        )  # fmt: skip
        if crossed is not None:
            ax.plot([crossed], [level], "D", color=PALETTE[6], markersize=4.5, zorder=4)
    raw, smoothed = (np.clip(values[there], low, high) for values in (curve.gain_ratio, curve.smoothed_gain_ratio))
    ax.plot(curve.lr[there], raw, ".", color=RAW, alpha=0.45, markersize=3.5, linewidth=0)
    ax.plot(curve.lr[there], smoothed, color=SMOOTH, linewidth=1.6)
    draw_suggestion(view, ax)
    ax.set_ylim(low - 0.15, high + 0.15)
    ax.set_ylabel("gain ratio")


def draw_metrics(view: View, ax: Axes, names: Sequence[str]) -> None:
    """Other metrics, raw and smoothed."""
    curve, there = view.curve, view.there()
    for name, color in zip(names, METRICS * len(names), strict=False):
        values = np.where(np.isfinite(curve.metrics[name]), curve.metrics[name], np.nan)
        ax.plot(curve.lr[there], values[there], ".", color=color, alpha=0.35, markersize=3, linewidth=0)
        ax.plot(curve.lr[there], view.smoother.mean(values)[there], color=color, linewidth=1.6, label=_label(name))
    draw_suggestion(view, ax)
    ax.set_ylabel("metric" if len(names) == 1 else "metrics")


def _label(name: str) -> str:
    """A metric's name, in lines short enough to stand beside a panel."""
    return "\n".join(textwrap.wrap(plain(name), LABEL)) or " "


def draw_lr_against_step(view: View, ax: Axes) -> None:
    """The ramp, and where it passed the suggestion."""
    steps, there = np.arange(len(view.curve.lr)), view.there()
    ax.plot(steps[there], view.curve.lr[there], color=SMOOTH, linewidth=1.6)
    ax.axhline(view.suggestion.lr, color=_SUGGESTED, linewidth=1.6, linestyle="--")
    if not view.linear:
        ax.set_yscale("log")
    ax.set_xlabel("step of the range test")
    ax.set_ylabel("learning rate")
