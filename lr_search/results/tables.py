"""The tidy tables: trials, evaluations and curves. Their columns and types are the same whatever a storage holds."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lr_search.storage.garbage_collection import garbage_collection_paused
from lr_search.storage.records import StudyRecord, TrialRecord, charged_before

KEYS = ["strategy", "schedule", "optimizer", "seed"]
STATES = ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
OUTCOMES = ["finished", "diverged", "pruned", "failed"]
TRAIN_LOSS = "train_loss"  # the training loss among the metrics of `evaluations_frame`
_NAMES = ["comparison", "strategy", "schedule", "optimizer"]
COLUMNS = [
    *_NAMES, "seed", "number", "lr", "state", "outcome", "reason", "objective", "ensemble_objective", "ensemble_members",
    "steps", "steps_charged", "seconds", "device", "worker", "started", "ended",
]  # fmt: skip
_WHOLE = ("seed", "number", "ensemble_members", "steps", "steps_charged")


def trials_frame(records: Sequence[StudyRecord], kind: str = "search") -> pd.DataFrame:
    """A row a trial, in the order of studies and numbers.

    Columns:
        comparison, strategy, schedule, optimizer (category, in the order planned); seed, number (Int64).
        lr (float64): the (peak) LR; nan for a range test or probe.
        then, where it was searched, the schedule's shape (float64): cycles, base_ratio, T_mult, ...; nan where a schedule has no such.
        state (category): Optuna's: COMPLETE, PRUNED, FAIL or RUNNING; outcome (category): finished, diverged, pruned or failed,
            missing while it runs; reason (str): why it ended, in words.
        objective (float64): at the end of the training (inf, or -inf to maximize, where it diverged; at the cut where it was pruned).
        ensemble_objective (float64): of the models at the last cycle ends together (nan where none were judged);
            ensemble_members (Int64): how many they are.
        steps (Int64): optimizer steps it took; steps_charged (Int64): what its study had spent when it ended, range tests
            and pilots included.
        seconds (float64): in training and evaluating; device, worker (category): on what and in which process;
            started, ended (datetime64[ns, UTC]).
        then every metric at the end of the training (float64), as `metric_<name>` where a column above has its name.

    Args:
        records: of one comparison or several.
        kind: of the studies: search, range_test, probe, pilot, confirm or today.
    """
    studies = [study for study in records if study.kind == kind]
    before = charged_before(records)
    trials = [(study, trial) for study in studies for trial in study.trials]
    columns: dict[str, Any] = {name: _category([s.plan[name] for s, _ in trials]) for name in _NAMES}
    outcomes = [trial.outcome for _, trial in trials]
    columns["seed"] = [study.plan["seed"] for study, _ in trials]
    columns["number"] = [trial.number for _, trial in trials]
    columns["lr"] = _floats([trial.lr for _, trial in trials])
    columns |= _wide([trial.shape for _, trial in trials])
    columns["state"] = pd.Categorical([trial.state for _, trial in trials], STATES)
    columns["outcome"] = pd.Categorical([outcome.get("ended") for outcome in outcomes], OUTCOMES)
    columns["reason"] = pd.array([outcome.get("reason", "") for outcome in outcomes], dtype="str")
    columns["objective"] = _floats([trial.value for _, trial in trials])
    columns["ensemble_objective"] = _floats([t.ensemble_value(s.plan["objective"]) for s, t in trials])
    columns["ensemble_members"] = [trial.ensemble_members for _, trial in trials]
    columns["steps"] = [trial.steps for _, trial in trials]
    columns["steps_charged"] = [charged for study in studies for charged in steps_charged(study, before)]
    columns["seconds"] = _floats([outcome.get("seconds", math.nan) for outcome in outcomes])
    for name in ("device", "worker"):
        columns[name] = _category([outcome.get(name) for outcome in outcomes])
    started = pd.Series([outcome.get("started") for outcome in outcomes], dtype="object")
    columns["started"] = pd.to_datetime(started, utc=True, format="ISO8601").astype("datetime64[ns, UTC]")
    columns["ended"] = columns["started"] + pd.to_timedelta(columns["seconds"], unit="s").as_unit("ns")
    with garbage_collection_paused():
        last = [_last(trial) for _, trial in trials]
    columns |= {_column(name): values for name, values in _wide(last).items()}
    return pd.DataFrame(columns).astype(dict.fromkeys(_WHOLE, "Int64"))


def steps_charged(study: StudyRecord, before: Mapping[str, Sequence[StudyRecord]]) -> list[int]:
    """What the study had spent after each of its trials. before: as of `charged_before`."""
    first = sum(trial.steps for each in before.get(study.name, ()) for trial in each.trials)
    steps = np.cumsum([first, *(trial.steps for trial in study.trials)])
    return [int(each) for each in steps[1:]]


def evaluations_frame(records: Sequence[StudyRecord]) -> pd.DataFrame:
    """A row for each evaluation of a search's trial and each metric, the training loss among them.

    Columns:
        comparison, strategy, schedule, optimizer (category); seed, number (Int64); peak_lr (float64): the trial.
        step (Int64): steps done; lr (float64): the LR just used; end_of_cycle (boolean).
        metric (category): its name, or train_loss: the mean since the last evaluation; value (float64).
    """
    pairs = [(study, trial) for study in records if study.kind == "search" for trial in study.trials]
    with garbage_collection_paused():
        long = _Long([trial for _, trial in pairs])

    def repeated(values: Any) -> Any:
        return np.repeat(np.asarray(values), long.rows)

    columns: dict[str, Any] = {}
    for name in _NAMES:
        whole = _category([study.plan[name] for study, _ in pairs])
        columns[name] = whole.take(repeated(np.arange(len(pairs))))
    columns["seed"] = repeated([study.plan["seed"] for study, _ in pairs])
    columns["number"] = repeated([trial.number for _, trial in pairs])
    columns["peak_lr"] = repeated(_floats([trial.lr for _, trial in pairs]))
    columns |= long.columns()
    types = dict.fromkeys(("seed", "number", "step"), "Int64") | dict.fromkeys(("peak_lr", "lr"), "float64")
    return pd.DataFrame(columns).astype({**types, "end_of_cycle": "boolean"})


class _Long:
    """The evaluations of many trials, one metric after the other within a trial.

    Args:
        trials: whose.
    """

    def __init__(self, trials: Sequence[TrialRecord]) -> None:
        self.rows: list[int] = []  # of each trial
        self._step, self._lr, self._end, self._value = array("q"), array("d"), array("b"), array("d")
        self._codes: dict[str, int] = {}
        self._lines: list[tuple[int, int]] = []  # the metric's code, and how many values
        for trial in trials:
            self._add(trial)

    def _add(self, trial: TrialRecord) -> None:
        result = trial.evaluations()
        metrics = {(f"metric_{k}" if k == TRAIN_LOSS else k): v for k, v in result["metrics"].items()}
        lines = {TRAIN_LOSS: result["train_loss"], **metrics}
        self._step.extend(result["step"] * len(lines))
        self._lr.extend(result["lr"] * len(lines))
        self._end.extend(result["end_of_cycle"] * len(lines))
        for name, values in lines.items():
            self._value.extend(values)
            self._lines.append((self._codes.setdefault(name, len(self._codes)), len(values)))
        self.rows.append(len(result["step"]) * len(lines))

    def columns(self) -> dict[str, Any]:
        """Those that differ within a trial."""
        codes, counts = np.array(self._lines, dtype=int).reshape(-1, 2).T
        return {
            "step": np.array(self._step),
            "lr": np.array(self._lr),
            "end_of_cycle": np.array(self._end).astype(bool),
            "metric": pd.Categorical.from_codes(
                np.repeat(codes, counts).astype(int), pd.Index(list(self._codes), dtype="str")
            ),
            "value": np.array(self._value),
        }


def curves_frame(records: Sequence[StudyRecord]) -> pd.DataFrame:
    """A row a step of a range test: comparison, optimizer, seed, curve (from 0), and the columns of `LRCurve.to_frame`."""
    frames = []
    for study in records:
        for index, curve in enumerate(study.curves):
            frame = curve.to_frame()
            for place, name in enumerate(("comparison", "optimizer", "seed")):
                frame.insert(place, name, study.plan[name])
            frame.insert(3, "curve", index)
            frames.append(frame)
    if not frames:
        return pd.DataFrame(columns=["comparison", "optimizer", "seed", "curve", "step"])
    result = pd.concat(frames, ignore_index=True)
    return result.astype(
        {"comparison": "category", "optimizer": "category", "seed": "Int64", "curve": "Int64", "step": "Int64"}
    )


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A table without the columns that say nothing here: of ensembles where there are none, and the like."""
    optional = ("ensemble", "ensemble_objective", "mean_rank", "faster_than_random", "faster_than_grid")
    return frame.drop(columns=[name for name in optional if name in frame and frame[name].isna().all()])


def _category(values: Sequence[Any]) -> pd.Categorical:
    """In the order in which they come; what is empty is missing."""
    return pd.Categorical([value or None for value in values], list(dict.fromkeys(value for value in values if value)))


def _floats(values: Sequence[float]) -> Any:
    return np.asarray(values, dtype=np.float64)


def _wide(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """A column for each name in any row; nan where a row has none."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _floats([row.get(name, math.nan) for row in rows]) for name in names}


def _last(trial: TrialRecord) -> dict[str, float]:
    return {name: values[-1] for name, values in trial.evaluations()["metrics"].items() if values}


def _column(metric: str) -> str:
    """A metric's column: its name, unless a column of ours has it."""
    return f"metric_{metric}" if metric in COLUMNS else metric
