"""What makes a transfer doubtful, in words."""

from __future__ import annotations

from collections.abc import Sequence

_WORDS = {
    "learns_nothing": "The longest pilots learned nothing, and say little: give longer ones (a larger cost), or look at the range test.",
    "learns_little": "The longest pilots lowered the objective by less than 5%: what is learned later may want another LR. Give a larger cost.",
    "all_diverged": "All of the longest pilots diverged: the LR lies below theirs.",
    "lowest_is_best": "The best of the longest pilots has their lowest LR: the best may lie below it.",
    "highest_is_best": "The best of the longest pilots has their highest LR: the best may lie above it.",
    "edge_of_range": "The LR lies at an end of the range that was searched: give a wider lr_range.",
    "schedule_not_measured": "Under this schedule it was not measured how far pilots mislead: the interval is that of one like it, wider.",
}


def in_words(remarks: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each remark of a `TransferPosterior`."""
    return tuple(_WORDS[remark] for remark in remarks)
