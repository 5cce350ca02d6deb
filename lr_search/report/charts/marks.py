"""SVG elements as markup: every text and attribute escaped."""

from __future__ import annotations

import math

from markupsafe import Markup

from lr_search.report.charts.page_colors import color_variable
from lr_search.report.plots.style import Look

# marker -> corners, the angle of the first in degrees, and how far the dents between them lie from the middle (1: no dents)
_CORNERS = {
    "s": (4, 45, 1.0), "D": (4, 0, 1.0), "d": (4, 0, 1.0), "^": (3, -90, 1.0), "v": (3, 90, 1.0), "<": (3, 180, 1.0),
    ">": (3, 0, 1.0), "p": (5, -90, 1.0), "h": (6, -90, 1.0), "8": (8, 22.5, 1.0), "*": (5, -90, 0.45), "P": (4, -90, 0.4),
}  # fmt: skip


def element(name: str, content: object = "", **attributes: object) -> Markup:
    """An element with escaped content and attributes; `_` in a name stands for `-`, and one at the end is dropped.

    >>> str(element("text", "a < b", class_="soft", text_anchor="end", x=1.25))
    '<text class="soft" text-anchor="end" x="1.2">a &lt; b</text>'
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value)) for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, content)


def _short(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def marker(look: Look, x: float, y: float, size: float = 4.0, title: str = "") -> Markup:
    """A strategy's marker; `title` is what it says at the pointer."""
    inside = element("title", title) if title else Markup("")
    style = f"fill: var(--{color_variable(look.color)})"
    if look.marker not in _CORNERS:
        return element("circle", inside, class_="point", style=style, cx=x, cy=y, r=size)
    corners, first, dent = _CORNERS[look.marker]
    places = []
    for turn in range(2 * corners):
        angle = math.radians(first + 180 * turn / corners)
        reach = 1.25 * size * (1.0 if turn % 2 == 0 else dent)
        if turn % 2 == 0 or dent < 1:
            places.append(f"{x + reach * math.cos(angle):.1f},{y + reach * math.sin(angle):.1f}")
    return element("polygon", inside, class_="point", style=style, points=" ".join(places))


def cross(look: Look, x: float, y: float, size: float = 3.5, title: str = "") -> Markup:
    """A cross in a strategy's colour: a training that diverged."""
    inside = element("title", title) if title else Markup("")
    line = f"M{x - size:.1f},{y - size:.1f}l{2 * size},{2 * size}m0,{-2 * size}l{-2 * size},{2 * size}"
    return element("path", inside, class_="point", style=f"stroke: var(--{color_variable(look.color)})", d=line)
