"""The picture of a range test."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lr_search.curves.curve import LRCurve
from lr_search.errors import require
from lr_search.report.plots.curve_panels import (
    draw_gain_ratio,
    draw_loss,
    draw_lr_against_step,
    draw_metrics,
    draw_slope,
    name_phases,
    shade_phases,
)
from lr_search.report.plots.curve_view import View
from lr_search.report.plots.style import GREY, PALETTE, escaped, log_lr, new_figure, short_number

_WIDTH = 8.6  # inches; the legends stand beside the panels
HEIGHTS = {"loss": 3.1, "slope": 1.25, "gain_ratio": 1.5, "metrics": 1.4, "lr_against_step": 1.4}
_BETWEEN = 0.075  # inches, half of what is left between panels: the labels of two y axes meet there
_MARGIN = 0.02  # of the LR axis, beyond the ramp
_LINE = 138  # letters in a line of the caption
WARNING = PALETTE[3]

Panel = tuple[str, Callable[[Axes], None]]


def plot_curve(
    curve: LRCurve,
    ax: Axes | Sequence[Axes] | None = None,
    *,
    rule: str | None = None,
    lr_against_step: bool = False,
    legend: bool = True,
) -> Axes:
    """Draw a range test: its loss with suggestion, bounds, prior and phases; its slope, metrics and gain ratio below.

    Args:
        curve: a range test's record, or several pooled.
        ax: where to draw: the loss alone into one Axes, or as many panels as there are into several. Default: a new figure
            with all of them.
        rule: how the suggestion is read off the curve; default: the default rule.
        lr_against_step: whether to add a panel with the LR at each step.
        legend: whether to say what is what.

    Returns:
        The loss's Axes; `.figure` is the figure they are in.

    Raises:
        InvalidInputError: there are more Axes than panels.
        UnknownNameError: no rule has that name.
    """
    view = View(curve, rule)
    panels = _panels(view, lr_against_step=lr_against_step)
    if ax is None:
        return _new(view, panels, legend=legend)
    if isinstance(ax, Axes):
        _draw(view, panels[:1], [ax])
        name_phases(view, ax)
        if legend:
            ax.legend(fontsize=7.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)
        return ax
    axes: list[Axes] = list(np.ravel(np.asarray(ax, dtype=object)))
    names = ", ".join(name for name, _ in panels)
    require(1 <= len(axes) <= len(panels), f"ax must be 1 to {len(panels)} Axes, for {names}", got=len(axes))
    _draw(view, panels, axes)
    name_phases(view, axes[0])
    if legend:
        _legends(axes)
    return axes[0]


def _panels(view: View, *, lr_against_step: bool) -> list[Panel]:
    """The panels there are, from top to bottom."""
    panels: list[Panel] = [("loss", partial(draw_loss, view)), ("slope", partial(draw_slope, view))]
    if view.has_gain_ratio:
        panels.append(("gain_ratio", partial(draw_gain_ratio, view)))
    panels += [("metrics", partial(draw_metrics, view, names=names)) for names in view.other_metrics]
    return panels + ([("lr_against_step", partial(draw_lr_against_step, view))] if lr_against_step else [])


def _new(view: View, panels: Sequence[Panel], *, legend: bool) -> Axes:
    """All panels in a figure of their own, under a headline and over a caption."""
    heights = [HEIGHTS[name] for name, _ in panels]
    figure, grid = new_figure(len(panels), 1, panel=(_WIDTH, 0), heights=heights)
    figure.get_layout_engine().set(h_pad=_BETWEEN)  # type: ignore[union-attr, call-arg]
    axes: list[Axes] = list(grid[:, 0])
    _draw(view, panels, axes)
    name_phases(view, axes[0])
    if legend:
        _legends(axes)
    _say(view, figure)
    figure.align_ylabels()
    return axes[0]


def _draw(view: View, panels: Sequence[Panel], axes: Sequence[Axes]) -> None:
    """Each panel into its Axes; those over the LR share its axis, which the lowest of them labels."""
    over_lr = []
    for (name, draw), ax in zip(panels, axes, strict=False):
        draw(ax)
        if name != "lr_against_step":
            shade_phases(view, ax)
            _lr_axis(view, ax)
            over_lr.append(ax)
    for ax in over_lr[:-1]:
        ax.tick_params(labelbottom=False)
        ax.set_xlabel("")


def _lr_axis(view: View, ax: Axes) -> None:
    low, high = view.lr_range
    if view.linear:
        room = _MARGIN * (high - low)
        ax.set_xlim(low - room, high + room)
        ax.set_xlabel("learning rate")
    else:
        room = (high / low) ** _MARGIN
        ax.set_xscale("log")
        ax.set_xlim(low / room, high * room)
        log_lr(ax)


def _legends(axes: Sequence[Axes]) -> None:
    """Beside the panels, where no data are."""
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        if labels:
            ax.legend(handles, labels, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _say(view: View, figure: Figure) -> None:
    """The answer above the panels; the reason below."""
    suggestion, seeds = view.suggestion, len(view.curve.members)
    warns = suggestion.status != "ok"
    figure.suptitle(
        f"suggested learning rate {short_number(suggestion.lr)}  (×/÷ {10**suggestion.log10_std:.2g})   {suggestion.status}",
        x=0.01, ha="left", fontsize=13, fontweight="bold", color=WARNING if warns else "black",
    )  # fmt: skip
    cost = f"{view.curve.steps_charged} steps" + (f" over {seeds} seeds" if seeds > 1 else "")
    reason = textwrap.wrap(escaped(suggestion.reason), _LINE, max_lines=4, placeholder=" …")
    caption = "\n".join([*reason, f"Rule {suggestion.rule}; cost {cost}."])
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=8.5, color=WARNING if warns else GREY)
