"""The summary: what each way of searching found and cost, a row for each strategy x schedule x optimizer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lr_search.arrays import FloatArray
from lr_search.kinds.direction import Direction
from lr_search.results.anytime import Key, Line, Lines, best_trial
from lr_search.results.anytime_statistics import geometric_mean
from lr_search.results.recommendation import Recommendation
from lr_search.results.statistics import mean_ranks
from lr_search.storage.records import StudyRecord

SUMMARY_COLUMNS = [
    "strategy", "schedule", "optimizer", "best", "best_std", "best_lr", "ensemble", "mean_rank", "area", "steps",
    "steps_to_close", "faster_than_random", "faster_than_grid", "seconds", "seeds", "trials", "diverged", "pruned", "failed",
]  # fmt: skip
SHORT_COLUMNS = ["strategy", "schedule", "optimizer", "best", "best_lr", "steps", "trials"]
_WHOLE = ("seeds", "trials", "diverged", "pruned", "failed")


def summary_frame(records: Sequence[StudyRecord]) -> pd.DataFrame:
    """A row for each strategy x schedule x optimizer that has a finished trial, best first.

    Columns:
        strategy, schedule, optimizer (category).
        best: mean over seeds of the best objective found; best_std: its standard deviation over seeds (nan for one seed).
        best_lr: geometric mean over seeds of the LR it was found at (nan where no training ended better than it began).
        ensemble: mean over seeds of the best trial's ensemble_objective (nan where a seed's has none); no worse than at step 0,
            as `best`.
        mean_rank: among all rows, 1 = best, within each seed that every row has; ties share their ranks.
        area: mean over seeds of the area under the best so far, from 0 (the best known from the first step on) to 1 (never better
            than at step 0); see `lr_search.results.anytime_statistics.anytime_area`.
        steps: mean steps a study spent, range tests included.
        steps_to_close: mean steps a study spent until its best was within 5% of the best known of all studies of that seed
            (5% of the way back to the objective at step 0); nan where a seed never came so close.
        faster_than_random, faster_than_grid: how many times fewer steps than that strategy, under the same schedule, until both
            were as good as the worse of them ends (within 5% of the way back to step 0); geometric mean over seeds. nan where that
            strategy was not run, or nothing got better than at step 0. See `lr_search.results.anytime_statistics.speed_up`.
        seconds: mean time of a study's trials, range tests included.
        seeds, trials, diverged, pruned, failed (Int64): how many, over all seeds.
    """
    lines = Lines(records)
    groups = {key: each for key, each in lines.groups.items() if any(len(line.charged) for line in each.values())}
    ranks = _mean_ranks(groups, lines.direction)
    rows = [{**_row(key, list(groups[key].values()), lines), "mean_rank": ranks[key]} for key in groups]
    frame = pd.DataFrame(rows, columns=SUMMARY_COLUMNS)
    frame = frame.astype(dict.fromkeys(SUMMARY_COLUMNS[3:-5], "float64") | dict.fromkeys(_WHOLE, "Int64"))
    frame = frame.astype(dict.fromkeys(SUMMARY_COLUMNS[:3], "category"))
    return frame.sort_values("best", ascending=lines.sign > 0, kind="stable", ignore_index=True)


class ShortSummary(pd.DataFrame):
    """The summary in few columns: a table like any other, which prints its numbers to 4 digits, within 80 columns and without gaps."""

    def __repr__(self) -> str:
        return self.to_string(float_format=lambda value: f"{value:.4g}")


def short_summary(summary: pd.DataFrame) -> ShortSummary:
    """Each way of searching, what it found at which LR, and after how much.

    Args:
        summary: as of `summary_frame`.

    Returns:
        strategy, schedule, optimizer (where there are several), best, best_lr, steps (Int64, rounded), trials.
    """
    names = [name for name in SHORT_COLUMNS if name != "optimizer" or len(summary[name].unique()) > 1]
    return ShortSummary(summary[names].assign(steps=summary["steps"].round().astype("Int64")))


def apart_remark(summary: pd.DataFrame, best: Recommendation | None) -> str:
    """Why the best row of the summary and the recommendation differ, in one line; empty where they do not."""
    if best is None or summary.empty:
        return ""
    row = summary.iloc[0]
    same = f"{row['best']:.3g}" == f"{best.value:.3g}" and f"{row['best_lr']:.3g}" == f"{best.lr:.3g}"
    answer = "is of fresh seeds" if best.confirmed else "averages all nearby"
    return "" if same else f"Rows show each seed's best trial, partly luck; the answer {answer}."


def _row(key: Key, group: Sequence[Line], lines: Lines) -> dict[str, object]:
    studies = [line.study for line in group]
    result = np.array([line.final for line in group])
    trials = [trial for study in studies for trial in study.trials]
    extra = [trial for study in studies for first in lines.before.get(study.name, ()) for trial in first.trials]
    return {
        **dict(zip(("strategy", "schedule", "optimizer"), key, strict=True)),
        "best": result.mean(),
        "best_std": result.std(ddof=1) if len(result) > 1 else math.nan,
        "best_lr": _mean_lr(studies),
        "ensemble": float(np.mean([_ensemble(study) for study in studies])),
        "area": float(np.mean([lines.area(line) for line in group])),
        "steps": sum(t.steps for t in (*trials, *extra)) / len(studies),
        "steps_to_close": float(np.mean([lines.steps_to_close(line) for line in group])),
        "faster_than_random": geometric_mean([lines.faster_than(line, "random") for line in group]),
        "faster_than_grid": geometric_mean([lines.faster_than(line, "grid") for line in group]),
        "seconds": sum(t.outcome.get("seconds", 0.0) for t in (*trials, *extra)) / len(studies),
        "seeds": len(studies),
        "trials": sum(t.state != "RUNNING" for t in trials),
        "diverged": sum(t.outcome.get("ended") == "diverged" for t in trials),
        "pruned": sum(t.state == "PRUNED" for t in trials),
        "failed": sum(t.state == "FAIL" for t in trials),
    }


def finals(groups: dict[Key, dict[int, Line]]) -> FloatArray:
    """What each group found for each seed. Returns: (seeds, groups), nan where there is none."""
    seeds = sorted({seed for group in groups.values() for seed in group})
    table = [[group[seed].final if seed in group else math.nan for group in groups.values()] for seed in seeds]
    return np.array(table, dtype=float).reshape(len(seeds), len(groups))


def _mean_ranks(groups: dict[Key, dict[int, Line]], direction: Direction) -> dict[Key, float]:
    if not groups:
        return {}
    ranks = mean_ranks(finals(groups), direction)
    return {key: float(rank) for key, rank in zip(groups, ranks, strict=True)}


def _mean_lr(studies: Sequence[StudyRecord]) -> float:
    """Geometric mean of the LRs at which trainings ended better than they began."""
    result = [(study, best_trial(study)) for study in studies]
    lrs = [best.lr for study, best in result if best is not None and study.clipped(best.value) != study.worst]
    return float(np.exp(np.mean(np.log(lrs)))) if lrs else math.nan


def _ensemble(study: StudyRecord) -> float:
    """The objective of the best trial's ensemble, no worse than at step 0; nan where it has none."""
    best = best_trial(study)
    return math.nan if best is None else study.clipped(best.ensemble_value(study.plan["objective"]))
