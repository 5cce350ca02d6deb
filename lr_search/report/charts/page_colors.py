"""The page's names of the figures' colours: report.css says what each is on white and on dark paper."""

from __future__ import annotations

# a colour of Matplotlib's figures -> the variable of the page that stands for it
VARIABLES = {
    "#0072b2": "blue", "#e69f00": "orange", "#009e73": "green", "#d55e00": "red", "#cc79a7": "pink", "#56b4e9": "sky",
    "#f0e442": "yellow", "#000000": "ink", "#ffffff": "paper", "#5f6368": "soft", "#808080": "soft", "#e3e3e3": "line",
    "#ededed": "slow", "#fbe9c6": "rising", "#d9d9d9": "slowname", "#dceefb": "descentname", "#f3cf84": "risingname",
    "#d9ead9": "basin",
}  # fmt: skip


def color_variable(color: str) -> str:
    """The variable of a colour that has one, else ink.

    >>> color_variable("#0072B2")
    'blue'
    """
    return VARIABLES.get(color.lower(), "ink")
