"""A terminal's screen, as far as progress bars use one."""

import io
import os
import re

import pytest

TOKEN = re.compile(r"\x1b\[A|[\r\n]|[^\x1b\r\n]+")


class Screen(io.StringIO):
    """Keeps what is seen; fails where a line is wider than the screen, or below its last row.

    Args:
        columns: of the screen.
        rows: of the screen.
    """

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self.columns, self.rows = columns, rows
        self._lines = [""] * rows
        self.row = self._column = 0
        self.writes = 0

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def write(self, text: str) -> int:
        self.writes += 1
        assert not TOKEN.sub("", text), f"unknown: {text!r}"
        for token in TOKEN.findall(text):
            self._take(token)
        return len(text)

    def _take(self, token: str) -> None:
        if token == "\r":
            self._column = 0
        elif token == "\n":
            self.row, self._column = self.row + 1, 0
            assert self.row < self.rows, "the screen would scroll"
        elif token == "\x1b[A":
            self.row = max(0, self.row - 1)
        else:
            line = self._lines[self.row].ljust(self._column)
            self._column += len(token)
            assert self._column < self.columns, f"wraps: {token!r}"
            self._lines[self.row] = line[: self._column - len(token)] + token + line[self._column :]

    def seen(self) -> list[str]:
        """The lines, without what is empty at their ends and below the last."""
        return "\n".join(line.rstrip() for line in self._lines).rstrip().splitlines()


def screen(monkeypatch: pytest.MonkeyPatch, columns: int = 80, rows: int = 24) -> Screen:
    """Make standard error a terminal of that size."""
    made = Screen(columns, rows)
    monkeypatch.setattr("sys.stderr", made)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((columns, rows)))
    for name, size in (("COLUMNS", columns), ("LINES", rows)):  # where an older tqdm looks
        monkeypatch.setenv(name, str(size))
    return made
