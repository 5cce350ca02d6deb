"""The tables: trials, evaluations, curves, the best so far against steps, and the summary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lr_search.report.records import StudyRecord, TrialRecord, range_tests_of

KEYS = ["strategy", "schedule", "optimizer", "seed"]
WITHIN = 0.05  # "close to the best known": this share of the way from the objective at step 0 to the best
COLUMNS = [
    "comparison", *KEYS, "number", "lr", "state", "outcome", "reason", "objective", "ensemble_objective", "ensemble_members",
    "steps", "steps_charged", "seconds", "device", "started", "ended",
]  # fmt: skip


def trials_frame(records: Sequence[StudyRecord], kind: str = "search") -> pd.DataFrame:
    """A row a trial, in the order of studies and numbers.

    Columns:
        comparison, strategy, schedule, optimizer (str), seed, number (Int64).
        lr: the (peak) LR.
        then, where it was searched, the schedule's shape: cycles, base_ratio, T_mult, ... (nan where a schedule has no such).
        state: Optuna's: COMPLETE, PRUNED, FAIL or RUNNING; outcome: finished, diverged, pruned or failed, empty while it
            runs; reason: why it ended, in words.
        objective: at the end of the training (inf, or -inf to maximize, where it diverged; at the cut where it was pruned).
        ensemble_objective: of the models at the last cycle ends together (nan where none were judged); ensemble_members: how
            many they are (Int64).
        steps: optimizer steps it took (Int64); steps_charged: what its study had spent when it ended, range tests included.
        seconds, device, started, ended (UTC): where and when it ran.
        then every metric at the end of the training.
    """
    rows = []
    for study in records:
        if study.kind != kind:
            continue
        tests = range_tests_of(records, study)
        charged = sum(t.steps for t in tests.trials) if tests is not None else 0
        for trial in study.trials:
            charged += trial.steps
            row = {key: study.plan[key] for key in KEYS}
            metrics = {name: values[-1] for name, values in trial.evaluations()["metrics"].items() if values}
            started = trial.outcome.get("started")
            seconds = trial.outcome.get("seconds", math.nan)
            rows.append(
                {
                    "comparison": study.plan["comparison"],
                    **row,
                    "number": trial.number,
                    "lr": trial.lr,
                    **trial.shape,
                    "state": trial.state,
                    "outcome": trial.outcome.get("ended", ""),
                    "reason": trial.outcome.get("reason", ""),
                    "objective": trial.value,
                    "ensemble_objective": trial.ensemble_value(study.plan["objective"]),
                    "ensemble_members": trial.ensemble_members,
                    "steps": trial.steps,
                    "steps_charged": charged,
                    "seconds": seconds,
                    "device": trial.outcome.get("device", ""),
                    "started": started,
                    "ended": started,
                }
                | {_column(name): value for name, value in metrics.items()}
            )
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=COLUMNS)
    whole = dict.fromkeys(("seed", "number", "ensemble_members", "steps", "steps_charged"), "Int64")
    for name in ("started", "ended"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    frame["ended"] += pd.to_timedelta(pd.to_numeric(frame["seconds"]), unit="s")
    return frame.astype(whole)


def _column(metric: str) -> str:
    """A metric's column: its name, unless a column of ours has it."""
    return f"metric_{metric}" if metric in COLUMNS else metric


def evaluations_frame(records: Sequence[StudyRecord]) -> pd.DataFrame:
    """A row an evaluation of a search's trial: the study, number, lr_peak, step, lr, train_loss, end_of_cycle, metrics."""
    frames = []
    for study in records:
        if study.kind != "search":
            continue
        for trial in study.trials:
            evaluations = trial.evaluations()
            columns: dict[str, Any] = {key: study.plan[key] for key in KEYS}
            columns |= {"number": trial.number, "peak_lr": trial.lr}
            columns |= {name: evaluations[name] for name in ("step", "lr", "train_loss", "end_of_cycle")}
            columns |= evaluations["metrics"]
            frames.append(pd.DataFrame(columns))
    return (
        pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*KEYS, "number", "peak_lr", "step"])
    )


def curves_frame(records: Sequence[StudyRecord]) -> pd.DataFrame:
    """A row a step of a range test: optimizer, seed, curve (from 0), and the columns of `LRCurve.to_frame`."""
    frames = []
    for study in records:
        for index, curve in enumerate(study.curves):
            frame = curve.to_frame()
            frame.insert(0, "curve", index)
            frame.insert(0, "seed", study.plan["seed"])
            frame.insert(0, "optimizer", study.plan["optimizer"])
            frames.append(frame)
    return (
        pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["optimizer", "seed", "curve", "step"])
    )


def anytime_frame(records: Sequence[StudyRecord]) -> pd.DataFrame:
    """A row a finished trial: the study's keys, steps_charged, and the best objective so far (no worse than at step 0).

    A pruned trial spends its steps and wins nothing: only the objective at the end of a training counts.
    """
    rows = []
    for study in records:
        if study.kind != "search":
            continue
        tests = range_tests_of(records, study)
        charged = sum(t.steps for t in tests.trials) if tests is not None else 0
        better = min if study.plan["direction"] == "minimize" else max
        best = study.worst
        keys = {key: study.plan[key] for key in KEYS}
        for trial in study.trials:
            charged += trial.steps
            if trial.state == "COMPLETE":
                value = study.clipped(trial.value)
                best = value if math.isnan(best) else better(best, value)
            if trial.state != "RUNNING":
                rows.append({**keys, "steps_charged": charged, "best": best})
    return pd.DataFrame(rows, columns=[*KEYS, "steps_charged", "best"])


def summary_frame(records: Sequence[StudyRecord]) -> pd.DataFrame:
    """A row for each strategy x schedule x optimizer, best first.

    Columns:
        strategy, schedule, optimizer.
        best: mean over seeds of the best objective found; best_std: its standard deviation over seeds (nan for one seed).
        best_lr: geometric mean over seeds of the LR it was found at (nan where no training ended better than it began).
        ensemble: mean over seeds of the best trial's ensemble_objective (nan where a seed's has none); no worse than at step 0,
            as `best`.
        steps: mean steps a study spent, range tests included.
        steps_to_close: mean steps a study spent until its best was within 5% of the best known of all studies of that seed
            (5% of the way back to the objective at step 0); nan where a seed never came so close.
        seconds: mean wall time of a study's trials, range tests included.
        seeds, trials, diverged, pruned, failed: how many, over all seeds.
    """
    groups: dict[tuple[str, str, str], list[StudyRecord]] = {}
    for study in records:
        if study.kind == "search" and any(t.state != "RUNNING" for t in study.trials):
            groups.setdefault((study.plan["strategy"], study.plan["schedule"], study.plan["optimizer"]), []).append(
                study
            )
    anytime = {tuple(key): frame for key, frame in anytime_frame(records).groupby(KEYS, sort=False)}
    goals = _goals(records)
    rows = []
    for (strategy, schedule, optimizer), studies in groups.items():
        found = [best_trial(study) for study in studies]
        values = np.array([math.nan if best is None else best[0] for best in found])
        lrs = np.array([math.nan if best is None else best[1] for best in found])
        trials = [t for study in studies for t in study.trials]
        tests = [range_tests_of(records, study) for study in studies]
        extra = [t for test in tests if test is not None for t in test.trials]
        close = [_steps_to(anytime.get(tuple(s.plan[k] for k in KEYS)), goals[s.plan["seed"]], s) for s in studies]
        rows.append(
            {
                "strategy": strategy,
                "schedule": schedule,
                "optimizer": optimizer,
                "seeds": len(studies),
                "best": values.mean(),
                "best_std": values.std(ddof=1) if len(values) > 1 else math.nan,
                "best_lr": float(np.exp(np.log(lrs[~np.isnan(lrs)]).mean())) if not np.isnan(lrs).all() else math.nan,
                "ensemble": float(np.mean([_ensemble(study) for study in studies])),
                "trials": sum(t.state != "RUNNING" for t in trials),
                "diverged": sum(t.outcome.get("ended") == "diverged" for t in trials),
                "pruned": sum(t.state == "PRUNED" for t in trials),
                "failed": sum(t.state == "FAIL" for t in trials),
                "steps": sum(t.steps for t in (*trials, *extra)) / len(studies),
                "seconds": sum(t.outcome.get("seconds", 0.0) for t in (*trials, *extra)) / len(studies),
                "steps_to_close": float(np.mean(close)),
            }
        )
    columns = [
        "strategy", "schedule", "optimizer", "best", "best_std", "best_lr", "ensemble", "steps", "steps_to_close",
        "seconds", "seeds", "trials", "diverged", "pruned", "failed",
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns)
    ascending = all(study.plan["direction"] == "minimize" for study in records if study.kind == "search")
    return frame.sort_values("best", ascending=ascending, kind="stable", ignore_index=True)


def best_trial(study: StudyRecord) -> tuple[float, float] | None:
    """The best objective of a study and its LR; None if no trial is complete.

    Where no training ended better than it began, the objective of step 0 and nan.
    """
    best = _best(study)
    if best is None:
        return None
    value = study.clipped(best.value)
    return value, (best.lr if value != study.worst else math.nan)


def _best(study: StudyRecord) -> TrialRecord | None:
    done = [t for t in study.trials if t.state == "COMPLETE"]
    sign = 1 if study.plan["direction"] == "minimize" else -1
    return min(done, key=lambda t: sign * study.clipped(t.value), default=None)


def _ensemble(study: StudyRecord) -> float:
    """The objective of the best trial's ensemble, no worse than at step 0; nan where it has none."""
    best = _best(study)
    return math.nan if best is None else study.clipped(best.ensemble_value(study.plan["objective"]))


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A table without its columns of ensembles where there are none."""
    empty = [name for name in ("ensemble", "ensemble_objective") if name in frame and frame[name].isna().all()]
    return frame.drop(columns=empty)


def _goals(records: Sequence[StudyRecord]) -> dict[int, float]:
    """Per seed, the objective that counts as close to the best known."""
    bests: dict[int, list[float]] = {}
    for study in records:
        found = best_trial(study) if study.kind == "search" else None
        seed = study.plan["seed"]
        bests.setdefault(seed, [])
        if found is not None and not math.isnan(found[1]) and not math.isnan(study.worst):
            bests[seed].append(found[0] + WITHIN * (study.worst - found[0]))
    sign = 1 if all(s.plan["direction"] == "minimize" for s in records if s.kind == "search") else -1
    return {seed: min(values, key=lambda v: sign * v) if values else math.nan for seed, values in bests.items()}


def _steps_to(progress: pd.DataFrame | None, goal: float, study: StudyRecord) -> float:
    if progress is None or math.isnan(goal):
        return math.nan
    sign = 1 if study.plan["direction"] == "minimize" else -1
    reached = progress.loc[sign * progress["best"] <= sign * goal, "steps_charged"]
    return float(reached.iloc[0]) if len(reached) else math.nan
