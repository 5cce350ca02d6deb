"""What is exported of a trial to other programs: its settings, its values at every step with their times, how it ended."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lr_search.errors import require

KEY = ["comparison", "strategy", "schedule", "optimizer", "seed", "number"]
OURS = ("lr", "objective", "steps", "seconds")  # values that we name


@dataclass(frozen=True)
class Point:
    """What was measured at one step of a training.

    Args:
        step: optimizer steps done.
        time: in seconds since the epoch, UTC.
        measured: by name; finite or nan.
    """

    step: int
    time: float
    measured: Mapping[str, float]


@dataclass(frozen=True)
class ExportedTrial:
    """One trial that has ended.

    Args:
        names: of the comparison, strategy, schedule and optimizer.
        seed: the study's.
        number: in its study.
        settings: lr, strategy, schedule, optimizer, seed and the schedule's shape; without what is missing.
        labels: state, outcome, reason and device, where they are known.
        started: in seconds since the epoch, UTC.
        ended: in seconds since the epoch, UTC.
        points: by step.
        final: at `ended`: objective, steps, seconds; without what is missing or infinite.
    """

    names: tuple[str, str, str, str]
    seed: int
    number: int
    settings: Mapping[str, str | float]
    labels: Mapping[str, str]
    started: float
    ended: float
    points: list[Point]
    final: Point


def exported_trials(trials: pd.DataFrame, evaluations: pd.DataFrame) -> Iterator[ExportedTrial]:
    """Every trial that has ended, in the order of the table.

    Infinite values are left out: TensorBoard does not draw them and MLflow's databases keep 1.8e308 for them; the outcome
    says that the trial diverged. nan stays; but at step 0, where nothing has been trained on, the training loss is missing.

    Args:
        trials: as `comparison.trials`.
        evaluations: as `comparison.evaluations`.

    Raises:
        InvalidInputError: a trial is in the table twice.
    """
    twice = trials.duplicated(KEY)
    require(
        not twice.any(), "Each trial must be in the table once", got=trials.loc[twice, KEY].head(1).to_dict("records")
    )
    rows = evaluations.groupby(KEY, observed=True, sort=False).indices
    columns = {name: evaluations[name].to_numpy() for name in ("step", "lr", "value")}
    columns["metric"] = evaluations["metric"].astype(object).to_numpy()
    names = [str(name) for name in trials.columns]
    shape = names[names.index("lr") + 1 : names.index("state")]
    for row in trials[trials["state"] != "RUNNING"].to_dict("records"):
        record = {str(name): value for name, value in row.items()}
        key = tuple(record[name] for name in KEY)
        taken = rows.get(key, [])
        yield _trial(record, shape, {name: values[taken] for name, values in columns.items()})


def _trial(record: Mapping[str, Any], shape: list[str], measured: Mapping[str, Any]) -> ExportedTrial:
    started, ended = _seconds(record["started"], record["ended"]), _seconds(record["ended"], record["started"])
    steps = 0 if pd.isna(record["steps"]) else int(record["steps"])
    values = _values_by_step(measured)
    pace = (ended - started) / max(1, steps, *values)
    finals = {name: record[name] for name in ("objective", "steps", "seconds") if not pd.isna(record[name])}
    settings = {name: record[name] for name in ("lr", "strategy", "schedule", "optimizer", "seed", *shape)}
    return ExportedTrial(
        names=(record["comparison"], record["strategy"], record["schedule"], record["optimizer"]),
        seed=int(record["seed"]),
        number=int(record["number"]),
        settings={name: value for name, value in settings.items() if not pd.isna(value)},
        labels={
            name: str(record[name]) for name in ("state", "outcome", "reason", "device") if not pd.isna(record[name])
        },
        started=started,
        ended=ended,
        points=[Point(step, started + pace * step, values[step]) for step in sorted(values)],
        final=Point(steps, ended, {name: float(value) for name, value in finals.items() if math.isfinite(value)}),
    )


def _seconds(time: Any, other: Any) -> float:
    known = other if pd.isna(time) else time
    return 0.0 if pd.isna(known) else float(known.timestamp())


def _values_by_step(measured: Mapping[str, Any]) -> dict[int, dict[str, float]]:
    by_step: dict[int, dict[str, float]] = {}
    for step, lr, metric, value in zip(*(measured[name] for name in ("step", "lr", "metric", "value")), strict=True):
        values = by_step.setdefault(int(step), {})
        if math.isfinite(lr):
            values["lr"] = float(lr)
        missing = np.isnan(value) and step == 0 and metric == "train_loss"
        if not missing and not np.isinf(value):
            values[series_name(metric)] = float(value)
    return by_step


def series_name(metric: str) -> str:
    """A metric's name; with `metric/` in front where it is one that we give to something else.

    >>> series_name("accuracy"), series_name("lr")
    ('accuracy', 'metric/lr')
    """
    return f"metric/{metric}" if metric in OURS or metric.startswith("metric/") else metric


def shortened(text: str, longest: int) -> str:
    """The text, cut and marked with a digest where it is longer than that many characters.

    >>> shortened("sgdr", longest=16), shortened("a schedule with a long name", longest=16)
    ('sgdr', 'a sch-2a3a6034b7')
    """
    return text if len(text) <= longest else f"{text[: longest - 11]}-{digest(text)}"


def digest(text: str) -> str:
    """Ten characters that differ between different texts."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]
