"""Tables of trials and evaluations, built by hand, for the tests of what is exported elsewhere."""

from typing import Any

import numpy as np
import pandas as pd

NAMES = {"comparison": "digits", "strategy": "grid", "schedule": "sgdr", "optimizer": "SGD", "seed": 0, "number": 0}
STARTED = pd.Timestamp("2026-01-02 03:04:05", tz="UTC")
CATEGORIES = ["comparison", "strategy", "schedule", "optimizer", "state", "outcome", "device", "worker"]
WHOLE = ["seed", "number", "ensemble_members", "steps", "steps_charged"]
POINTS = [(0, np.nan, 0.1, 2.5), (50, 2.0, 0.05, 1.5), (100, 1.0, 0.1, 0.75)]  # step, train_loss, lr, loss


def trial(**changes: Any) -> dict[str, Any]:
    """A row of the trials: it started at STARTED and took 20 seconds and 100 steps."""
    row = {
        **NAMES, "lr": 0.1, "cycles": 3.0, "T_mult": np.nan, "state": "COMPLETE", "outcome": "finished", "reason": "all its steps",
        "objective": 0.75, "ensemble_objective": np.nan, "ensemble_members": None, "steps": 100, "steps_charged": 100, "seconds": 20.0,
        "device": "cpu", "worker": "host:1", "started": STARTED, "ended": STARTED + pd.Timedelta(seconds=20), "loss": 0.75,
    }  # fmt: skip
    return {**row, **changes}


def trials_table(*rows: dict[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame(list(rows))
    types = dict.fromkeys(CATEGORIES, "category") | dict.fromkeys(WHOLE, "Int64")
    for name in ("started", "ended"):
        table[name] = pd.to_datetime(table[name], utc=True).astype("datetime64[ns, UTC]")
    return table.astype({**types, "reason": "str"})


def evaluations_of(*rows: dict[str, Any], metric: str = "loss", points: list[Any] = POINTS) -> pd.DataFrame:
    """The same points for each of the trials."""
    lines = [
        {**{name: row[name] for name in NAMES}, "peak_lr": row["lr"], "step": step, "lr": lr, "end_of_cycle": False}
        | {"metric": name, "value": value}
        for row in rows
        for step, train_loss, lr, found in points
        for name, value in (("train_loss", train_loss), (metric, found))
    ]
    table = pd.DataFrame(lines).astype(
        dict.fromkeys(["comparison", "strategy", "schedule", "optimizer", "metric"], "category")
    )
    return table.astype({"seed": "Int64", "number": "Int64", "step": "Int64", "end_of_cycle": "boolean"})


def tables(*rows: dict[str, Any], **points: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    return trials_table(*rows), evaluations_of(*rows, **points)
