"""Seeds: how many, or which."""

from __future__ import annotations

from collections.abc import Sequence

from lr_search.errors import require

MOST_SEEDS = 10_000


def taken_seeds(seeds: int | Sequence[int], name: str = "seeds") -> list[int]:
    """The seeds of a comparison, or of several range tests.

    Raises:
        InvalidInputError: there are none, too many, or two alike, or one is negative.

    >>> taken_seeds(3), taken_seeds([7, 0])
    ([0, 1, 2], [7, 0])
    """
    which = f"{name} must be how many (1 to {MOST_SEEDS:,}), or which (different whole numbers from 0)"
    if isinstance(seeds, int):
        require(1 <= seeds <= MOST_SEEDS, which, **{name: seeds})
        return list(range(seeds))
    require(1 <= len(seeds) <= MOST_SEEDS, which, **{name: seeds})
    result = list(seeds)
    require(min(result) >= 0 and len(set(result)) == len(result), which, **{name: seeds})
    return result
