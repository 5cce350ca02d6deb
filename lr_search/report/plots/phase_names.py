"""Names in a row over an axis, laid out when they are drawn: no sooner is it known how wide the axis is."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.text import Text

_POINTS = 7.5
_GAP = 6.0  # pixels between two names


class NamesInARow(Artist):
    """Names, each as near the middle of its span as there is room; those that find none are not drawn.

    Args:
        ax: where they stand.
        names: from left to right.
        spans: (left, right) of each name in the coordinates of the axis.
        height: of the row, as a share of the axes' height.
    """

    zorder = 5

    def __init__(self, ax: Axes, names: Sequence[str], spans: Sequence[tuple[float, float]], height: float) -> None:
        super().__init__()
        self.set_in_layout(False)
        self._spans, self._height = spans, height
        self._texts = [Text(0, 0, name, fontsize=_POINTS, ha="center", va="center") for name in names]
        ax.add_artist(self)
        for text in self._texts:
            text.set_figure(ax.figure.figure)

    def get_children(self) -> list[Artist]:
        """The names."""
        return list(self._texts)

    def draw(self, renderer: RendererBase) -> None:
        """Lay the names out and draw them."""
        assert self.axes is not None
        box = self.axes.bbox
        spans = [tuple(self.axes.transData.transform((x, 0))[0] for x in span) for span in self._spans]
        for text in self._texts:
            text.set_visible(True)
        widths = [text.get_window_extent(renderer).width + _GAP for text in self._texts]
        room_for_all = sum(widths) <= box.width
        middles = [(left + right) / 2 for left, right in spans]
        if room_for_all:
            middles = side_by_side(middles, widths, box.x0, box.x1)
        for text, middle, width, (left, right) in zip(self._texts, middles, widths, spans, strict=True):
            text.set_visible(room_for_all or right - left >= width)
            text.set_position((middle, box.y1 - self._height * box.height / 2))
            text.draw(renderer)
        self.stale = False


def side_by_side(middles: Sequence[float], widths: Sequence[float], low: float, high: float) -> list[float]:
    """The middles, moved so that none overlaps another or leaves [low, high], where there is room for all.

    Args:
        middles: rising.
        widths: of the names, in the order of `middles`.
        low: where the row begins.
        high: where it ends.

    >>> side_by_side([10.0, 50.0, 95.0], [10.0, 20.0, 20.0], 0.0, 100.0)
    [10.0, 50.0, 90.0]
    >>> side_by_side([90.0, 100.0], [40.0, 20.0], 0.0, 100.0)
    [60.0, 90.0]
    """
    moved, edge = list(middles), high
    for place in reversed(range(len(moved))):
        moved[place] = min(moved[place], edge - widths[place] / 2)
        edge = moved[place] - widths[place] / 2
    edge = low
    for place, width in enumerate(widths):
        moved[place] = max(moved[place], edge + width / 2)
        edge = moved[place] + width / 2
    return moved
