"""Names that stand in terminals, tables and files."""

from __future__ import annotations

from lr_search.errors import require

MOST_LETTERS = 100  # a study's name is made of four of them, and a database has room for 512


def require_name(what: str, name: object) -> None:
    """Raises: InvalidInputError: it is no text, empty, or holds what cannot be printed: it would stand in terminals, tables and files."""
    good = isinstance(name, str) and bool(name.strip()) and name.isprintable() and len(name) <= MOST_LETTERS
    require(good, f"{what} must be a text of 1 to {MOST_LETTERS} printable characters", got=name)
