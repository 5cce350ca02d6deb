"""How trials that run side by side are shown on a terminal: a line a study below the bars."""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn, TypeAlias

from tqdm import tqdm

from lr_search.executors.display.tally import Tally

Bar: TypeAlias = "tqdm[NoReturn]"  # without anything to iterate over
BARS = 2  # above the studies' lines
SIZE = 79, 23  # of a terminal that does not report its own, less a column and a row as in tqdm
STANDING = 45  # columns for how far a study has come
SHORTEST = 24  # columns for a name, at least


class StudyLines:
    """A line a study that is under way, as many as fit.

    Args:
        above: the uppermost bar.
        width: columns of the longest name of a study.
    """

    def __init__(self, above: Bar, width: int) -> None:
        self._above, self._width = above, width
        self._lines: list[Bar] = []

    def draw(self, studies: Collection[Tally]) -> None:
        """Bring the lines up to date; lines that have not changed are not touched."""
        columns, rows = self._above.ncols or SIZE[0], self._above.nrows or SIZE[1]
        room = max(0, rows - 1 - BARS)  # tqdm keeps the last row for itself
        shown = len(studies) if len(studies) <= room else max(0, room - 1)
        width = min(self._width, max(SHORTEST, columns - STANDING))
        texts = [f"  {_shortened(study.label, width):<{width}} {study.standing()}" for study in _first(studies, shown)]
        if shown < len(studies) and room:
            texts.append(f"  ... and {len(studies) - shown} more studies")
        while len(self._lines) > len(texts):
            self._lines.pop().close()
        for place, text in enumerate(texts):
            if place == len(self._lines):
                self._lines.append(_line(BARS + place, text))
            elif self._lines[place].desc != text:
                self._lines[place].set_description_str(text)

    def close(self) -> None:
        """Take the lines away."""
        while self._lines:
            self._lines.pop().close()


def _first(studies: Collection[Tally], count: int) -> Collection[Tally]:
    """So many of them, those with a trial that runs before others; in the order in which they began."""
    if len(studies) <= count:
        return studies
    chosen = {study.label for study in sorted(studies, key=lambda study: not study.running)[:count]}
    return [study for study in studies if study.label in chosen]


def _line(position: int, text: str) -> Bar:
    return tqdm(total=1, desc=text, bar_format="{desc}", position=position, leave=False, dynamic_ncols=True)


def _shortened(text: str, width: int) -> str:
    """With dots in the middle where it is too long: what two studies differ in stands at either end."""
    if len(text) <= width:
        return text
    end = (width - 3) // 2
    return f"{text[: width - 3 - end]}...{text[len(text) - end :]}"
