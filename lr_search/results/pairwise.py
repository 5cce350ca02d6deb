"""Differences between the ways of searching: paired over seeds, which all share weights and batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lr_search.arrays import FloatArray
from lr_search.errors import InvalidInputError, quoted
from lr_search.results.anytime import Key, Lines
from lr_search.results.statistics import MIN_SEEDS, Interval, holm
from lr_search.results.summary import finals
from lr_search.storage.records import StudyRecord

_NAMES = ("strategy", "schedule", "optimizer")
PAIRWISE_COLUMNS = [*_NAMES, *(f"than_{name}" for name in _NAMES), "seeds", "worse_by", "low", "high", "p", "verdict"]
CONFIDENCE = 0.95


def pairwise_frame(records: Sequence[StudyRecord], to: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A row for each strategy x schedule x optimizer: how much worse what it found is than what the reference found.

    Seeds are shared, so the differences are paired: of each seed, the best objective that the one found less the other's. Their mean
    has Student's t-interval; over all rows, p and interval are corrected after Holm (see `lr_search.results.statistics.holm`).

    Columns:
        strategy, schedule, optimizer (category): which; than_strategy, than_schedule, than_optimizer (category): the reference.
        seeds (Int64): how many both have.
        worse_by: mean difference in the objective, positive where worse than the reference, whatever the direction.
        low, high: its 95% interval; nan with fewer than 3 seeds.
        p: that such a difference or a larger one comes by chance.
        verdict: worse, better, no difference told apart, or too few seeds.

    Args:
        records: of the comparison.
        to: the reference, such as {"strategy": "random"}, which then is looked for under each schedule and optimizer; default: the best
            of the summary. It is chosen among these very results, so a small difference to it is flattered.

    Raises:
        InvalidInputError: `to` names no strategy, schedule or optimizer of the comparison.
    """
    lines = Lines(records)
    groups = {key: each for key, each in lines.groups.items() if any(len(line.charged) for line in each.values())}
    table = finals(groups)
    columns = {key: lines.sign * table[:, index] for index, key in enumerate(groups)}
    pairs = _pairs(columns, dict(to or {}))
    differences = [columns[key] - columns[reference] for key, reference in pairs]
    intervals = holm([each[np.isfinite(each)] for each in differences], CONFIDENCE) if pairs else []
    rows = [(*k, *r, i.n, i.mean, i.low, i.high, i.p, verdict(i)) for (k, r), i in zip(pairs, intervals, strict=True)]
    frame = pd.DataFrame(rows, columns=PAIRWISE_COLUMNS)
    types = dict.fromkeys(PAIRWISE_COLUMNS[:6], "category") | {"seeds": "Int64", "verdict": "category"}
    frame = frame.astype({**types, **dict.fromkeys(("worse_by", "low", "high", "p"), "float64")})
    return frame.sort_values("worse_by", kind="stable", ignore_index=True)


def verdict(interval: Interval) -> str:
    """What an interval of a difference says."""
    if interval.n < MIN_SEEDS:
        return "too few seeds"
    if interval.low > 0:
        return "worse"
    return "better" if interval.high < 0 else "no difference told apart"


def _pairs(columns: Mapping[Key, FloatArray], to: dict[str, str]) -> list[tuple[Key, Key]]:
    """Each group but the reference, with its reference."""
    if not columns:
        return []
    if not to:
        whole = {key: float(values.mean()) for key, values in columns.items()}
        ranked = sorted((key for key in whole if np.isfinite(whole[key])), key=lambda key: whole[key])
        return [(key, ranked[0]) for key in columns if key != ranked[0]] if ranked else []
    _require_known(columns, to)
    result = []
    for key in columns:
        strategy, schedule, optimizer = (to.get(name, own) for name, own in zip(_NAMES, key, strict=True))
        asked = (strategy, schedule, optimizer)
        if asked in columns and asked != key:
            result.append((key, asked))
    return result


def _require_known(columns: Mapping[Key, FloatArray], to: Mapping[str, str]) -> None:
    for name, value in to.items():
        known = sorted({key[_NAMES.index(name)] for key in columns}) if name in _NAMES else []
        if value not in known:
            held = "; ".join(f"{n}: {', '.join(sorted({key[i] for key in columns}))}" for i, n in enumerate(_NAMES))
            raise InvalidInputError(
                f"to must name what was compared, but got {name}={quoted(value)}. There are {held}."
            )
