"""Interactive pictures for optuna-dashboard, written as Plotly's JSON: neither side needs Plotly installed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lr_search.curves.curve import LRCurve
from lr_search.curves.prior import LRPrior
from lr_search.report.plots.curve_view import View
from lr_search.report.plots.style import GREY, PALETTE

DIGITS = 4  # of each number: a figure is stored in the study's attributes
GRID = 121  # points of a prior's curve
FEW_DECADES = 4  # up to which 2 and 5 are labelled too
LOG_FROM = 10  # the factor that values span from which on their axis is logarithmic


@dataclass(frozen=True)
class Plot:
    """A figure as `optuna_dashboard.save_plotly_graph_object` takes it.

    Args:
        title: of the figure.
        x: the x axis, as of Plotly's layout.
        y: the y axis.
        traces: what is drawn, as of Plotly.
    """

    title: str
    x: dict[str, Any]
    y: dict[str, Any]
    traces: list[dict[str, Any]] = field(default_factory=list)

    def line(self, name: str, x: Iterable[float], y: Iterable[float], color: str, **more: Any) -> None:
        """Add a line. Args: more: as of Plotly's scatter trace."""
        style = {"color": color, **more.pop("line", {})}
        self.traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": _shown(name),
                "x": _short(x),
                "y": _short(y),
                "line": style,
                **more,
            }
        )

    def points(self, name: str, x: Iterable[float], y: Iterable[float], color: str, **marker: Any) -> None:
        """Add points, unless there are none. Args: marker: as of Plotly's markers."""
        xs, ys = _short(x), _short(y)
        if xs:
            marker = {"color": color, "size": 8, **marker}
            self.traces.append(
                {"type": "scatter", "mode": "markers", "name": _shown(name), "x": xs, "y": ys, "marker": marker}
            )

    def to_json(self) -> str:
        """Plotly's JSON: data and layout."""
        layout = {
            "title": {"text": _shown(self.title), "font": {"size": 15}, "x": 0.02, "xanchor": "left"},
            "xaxis": self.x,
            "yaxis": self.y,
            "yaxis2": {"overlaying": "y", "side": "right", "visible": False, "rangemode": "tozero"},
            "legend": {"orientation": "h", "y": -0.22},
            "margin": {"l": 70, "r": 20, "t": 50, "b": 60},
        }
        return json.dumps({"data": self.traces, "layout": layout}, allow_nan=False)


def objective_plot(
    title: str,
    objective: str,
    groups: Mapping[str, tuple[str, Sequence[tuple[float, float]]]],
    worst: float,
    prior: LRPrior | None,
) -> Plot:
    """The objective at the end of each trial against its LR, with the prior behind.

    Args:
        title: of the figure.
        objective: its name.
        groups: name -> (colour, (LR, objective) of each trial); a diverged trial's objective is not finite.
        worst: where diverged trials are drawn.
        prior: of the LR, or None.
    """
    values = [value for _, points in groups.values() for _, value in points if math.isfinite(value)]
    plot = Plot(title, lr_axis(), value_axis(f"{objective} at the end", values))
    if prior is not None:
        grid = np.geomspace(prior.low, prior.high, GRID)
        shape: dict[str, Any] = {"yaxis": "y2", "fill": "tozeroy", "fillcolor": "rgba(95, 99, 104, 0.15)"}
        plot.line("prior", grid, prior.pdf(grid), GREY, line={"width": 1}, hoverinfo="skip", **shape)
    for name, (color, points) in groups.items():
        ended = [(lr, value) for lr, value in points if math.isfinite(value)]
        lost = [(lr, worst) for lr, value in points if not math.isfinite(value)]
        plot.points(name, *_columns(ended), color)
        plot.points(f"{name}, diverged", *_columns(lost), color, symbol="x")
    return plot


def curve_plot(title: str, curve: LRCurve) -> Plot:
    """A range test: its losses, the smoothed loss, the suggestion and the bounds for cycles."""
    view = View(curve)
    low, high = view.loss_range
    there = view.there()
    axis = {"title": {"text": "training loss"}, "range": [float(low), float(high)]}
    plot = Plot(title, lr_axis(linear=view.linear), axis)
    plot.points("loss", curve.lr[there], curve.loss[there], PALETTE[5], size=5, opacity=0.6)
    plot.line("smoothed", curve.lr[there], curve.smoothed[there], PALETTE[0], line={"width": 2.5})
    marks = [(f"suggestion {view.suggestion.lr:.3g}", view.suggestion.lr, PALETTE[3], "dash")]
    marks += [
        (f"{n} {lr:.3g}", lr, PALETTE[2], "dot") for n, lr in zip(("base_lr", "max_lr"), view.bounds, strict=True)
    ]
    for name, lr, color, dash in marks:
        plot.line(name, [lr, lr], [low, high], color, line={"dash": dash, "width": 1.5})
    return plot


def lr_axis(*, linear: bool = False) -> dict[str, Any]:
    """The LR's axis."""
    if linear:
        return {"title": {"text": "learning rate"}}
    return {"title": {"text": "learning rate (log)"}, "type": "log", "exponentformat": "power", "dtick": 1}


def value_axis(title: str, values: Sequence[float]) -> dict[str, Any]:
    """The objective's axis: logarithmic where the values are positive and span a factor of 10."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite or min(finite) <= 0 or max(finite) <= LOG_FROM * min(finite):
        return {"title": {"text": title}}
    decades = range(math.floor(math.log10(min(finite))), math.ceil(math.log10(max(finite))) + 1)
    parts = (1, 2, 5) if len(decades) <= FEW_DECADES else (1,)
    ticks = [float(f"{part}e{decade}") for decade in decades for part in parts]
    return {"title": {"text": f"{title} (log)"}, "type": "log", "tickvals": ticks, "tickformat": "~g"}


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _short(values: Iterable[float]) -> list[float | None]:
    """Few digits, and JSON's null for what is not finite."""
    return [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in map(float, values)]


def _shown(name: str) -> str:
    """A user's name as text: Plotly reads <b> as bold."""
    return name.replace("&", "&amp;").replace("<", "&lt;")
