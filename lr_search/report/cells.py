"""What stands in a table's cell: in a page, in Markdown, in a CSV file."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd

NOTHING = "–"
MOST_PLAIN = 1e7  # from here on a number has an exponent
_DATA = re.compile(r"(val|valid|validation|dev|test|eval|train|training)(?![a-z])", re.IGNORECASE)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of a formula


def cell(value: Any, digits: int = 4) -> str:
    """A value in so many digits; a dash where there is none.

    >>> cell(0.0123456), cell(12345.6), cell(1e30), cell(161.8, 2), cell(12), cell(float("nan")), cell("sgdr")
    ('0.01235', '12,346', '1e+30', '162', '12', '–', 'sgdr')
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return NOTHING
    if isinstance(value, float | np.floating):
        number = float(value)
        if math.isnan(number):
            return NOTHING
        return f"{number:,.0f}" if min(1000, 10**digits) <= abs(number) < MOST_PLAIN else f"{number:.{digits}g}"
    return str(value)


def measured(objective: str, *, on_test_data: bool | None = False) -> str:
    """The objective's name with the data that it is judged on, unless it begins with theirs, or they are not known (None).

    >>> measured("loss"), measured("accuracy", on_test_data=True), measured("val_loss"), measured("loss", on_test_data=None)
    ('validation loss', 'test accuracy', 'val_loss', 'loss')
    """
    if _DATA.match(objective) or (on_test_data is None and objective):
        return objective
    return f"{'test' if on_test_data else 'validation'} {objective or 'objective'}"


def percent(share: float) -> str:
    """A share in whole percent.

    >>> percent(0.283), percent(0.004), percent(float("nan"))
    ('28%', '0.4%', '–')
    """
    if not math.isfinite(share):
        return NOTHING
    return f"{100 * share:.0f}%" if abs(share) >= 0.01 else f"{100 * share:.1g}%"


def csv_text(frame: pd.DataFrame, float_format: str | None = None) -> str:
    r"""The frame as CSV, which a spreadsheet can open without running a name: texts that begin like a formula get a '.

    >>> csv_text(pd.DataFrame({"=1+1": ["@SUM(A1)", "-3"], "lr": [0.1, -0.2]}))
    "'=1+1,lr\n'@SUM(A1),0.1\n-3,-0.2\n"
    """
    safe = pd.DataFrame(
        {place: _plain_column(frame.iloc[:, place]) for place in range(frame.shape[1])}, index=frame.index
    )
    safe.columns = pd.Index([plain_text(str(name)) for name in frame.columns])
    return str(safe.to_csv(index=False, float_format=float_format, lineterminator="\n"))


def _plain_column(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        renamed = {word: plain_text(word) for word in column.cat.categories}
        return column.astype("object").map(lambda word: renamed.get(word, word))
    texts = pd.api.types.is_string_dtype(column.dtype) or pd.api.types.is_object_dtype(column.dtype)
    return column.map(plain_text) if texts else column


def plain_text(value: Any) -> Any:
    """A text that is no formula; whatever is no text stays as it is.

    >>> plain_text("=1+1"), plain_text("-1e-3"), plain_text("sgdr")
    ("'=1+1", '-1e-3', 'sgdr')
    """
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
