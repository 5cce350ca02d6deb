"""Matplotlib's SVG as a part of the page: in the page's colours and letters, its ids its own, and with axes that can be read off."""

from __future__ import annotations

import json
import re
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from lr_search.report.charts.page_colors import VARIABLES

_TAG = re.compile(r"<[a-zA-Z][^<>]*>")
_LEFT_OUT = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|<style .*?</style>", re.DOTALL)
_ID = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r'url\(#([^)]*)\)|xlink:href="#([^"]*)"')
_COLOR = re.compile(r"#[0-9a-fA-F]{6}\b")
_FRACTION = re.compile(r"(?<![\w(])(\d+\.\d\d)\d+")  # of a place; not of a scale in brackets
_POINTS_AN_INCH = 72


def page_svg(svg: bytes, name: str, description: str, axes: str = "[]") -> Markup:
    """An SVG element for the page.

    Args:
        svg: a file of Matplotlib's, whose texts and attributes are escaped.
        name: of the figure, by which its ids differ from those of others.
        description: what it shows, for those who do not see it.
        axes: of `axes_json`.
    """
    text = svg.decode()
    text = _LEFT_OUT.sub("", text[text.index("<svg") :])
    used = {one or other for one, other in _REFERENCE.findall(text)}
    whole = _TAG.match(text)
    assert whole is not None
    box = re.search(r'viewBox="([\d. -]*)"', whole[0])
    size = box[1] if box else "0 0 1 1"
    closed = whole[0].endswith("/>")
    head = Markup(
        '<svg class="plot" role="img" aria-label="{}" viewBox="{}" style="--wide: {}" data-axes="{}"{}>'
    ).format(description, size, size.split()[2], axes, Markup("/" if closed else ""))
    rest = _TAG.sub(lambda tag: _redressed(tag[0], name, used), text[whole.end() :])
    return head + Markup(rest.strip())


def _redressed(tag: str, name: str, used: set[str]) -> str:
    """One tag: its colours as variables, its ids only where something refers to them, its numbers to a hundredth."""
    tag = _ID.sub(lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", tag)
    tag = _REFERENCE.sub(
        lambda found: f"url(#{name}-{found[1]})" if found[1] else f'href="#{name}-{found[2]}"', tag
    ).replace(" xlink:href=", " href=")
    if tag.startswith("<image"):
        return tag
    tag = _COLOR.sub(lambda color: _variable(color[0]), tag)
    return _FRACTION.sub(r"\1", tag)


def _variable(color: str) -> str:
    variable = VARIABLES.get(color.lower())
    return f"var(--{variable})" if variable else color


def axes_json(figure: Figure) -> str:
    """Where the figure's axes lie in its SVG, and what they measure, once its layout is settled."""
    width, height = (_POINTS_AN_INCH * float(inches) for inches in figure.get_size_inches())
    shown = [ax for ax in figure.axes if ax.get_visible() and ax.get_label() != "<colorbar>"]
    return json.dumps([_axes(ax, shown, width, height) for ax in shown])


def _axes(ax: Axes, shown: list[Axes], width: float, height: float) -> dict[str, Any]:
    box = ax.get_position()
    below = [
        other.get_xlabel() for other in shown if other.get_xlabel() and abs(other.get_position().x0 - box.x0) < 0.01
    ]
    edges = [box.x0 * width, (1 - box.y1) * height, box.x1 * width, (1 - box.y0) * height]
    return {
        "box": [round(edge, 1) for edge in edges],
        "title": _words(ax.get_title().partition("\n")[0]),
        "x": _axis(ax.get_xlim(), ax.get_xscale(), ax.get_xlabel() or next(iter(below), "x")),
        "y": _axis(ax.get_ylim(), ax.get_yscale(), ax.get_ylabel()) | _rows(ax),
    }


def _axis(limits: tuple[float, float], scale: str, label: str) -> dict[str, Any]:
    return {"low": float(limits[0]), "high": float(limits[1]), "log": scale == "log", "name": _words(label)}


def _rows(ax: Axes) -> dict[str, Any]:
    """The names of an axis of rows."""
    if not isinstance(ax.yaxis.get_major_locator(), FixedLocator):
        return {}
    return {"rows": [_words(label.get_text()) for label in ax.get_yticklabels()]}


def _words(label: str) -> str:
    """A label in one line, without what its axis shows anyhow."""
    return re.sub(r" \((log|dots: [^)]*)\)$", "", " ".join(label.split()).replace(r"\$", "$"))
