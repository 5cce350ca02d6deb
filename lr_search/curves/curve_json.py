"""A curve as plain numbers and names: in a storage, and in a file that holds one curve."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lr_search.curves.curve import LRCurve
from lr_search.curves.training_plan import Plan
from lr_search.errors import InvalidInputError, OutputError, require

if TYPE_CHECKING:
    import pandas as pd

CURVE_FORMAT = 1
_ENTRIES = {
    "lr",
    "loss",
    "gain_ratio",
    "metrics",
    "stopped",
    "num_steps",
    "num_forwards",
    "ramp",
    "optimizer",
    "members",
}


def record_of(curve: LRCurve) -> dict[str, Any]:
    """What JSON can hold; `curve_of` takes it back to the last bit."""
    return {
        "format": CURVE_FORMAT,
        "lr": curve.lr.tolist(),
        "loss": curve.loss.tolist(),
        "gain_ratio": None if curve.gain_ratio is None else curve.gain_ratio.tolist(),
        "metrics": {name: np.asarray(values).tolist() for name, values in curve.metrics.items()},
        "stopped": curve.stopped,
        "num_steps": curve.num_steps,
        "num_forwards": curve.num_forwards,
        "ramp": curve.ramp,
        "optimizer": dict(curve.optimizer),
        "group_ratios": list(curve.group_ratios),
        "plan": None if curve.plan is None else curve.plan.to_json(),
        "members": [record_of(member) for member in curve.members],
    }


def curve_of(record: Mapping[str, Any]) -> LRCurve:
    """The curve of a record of this format. Raises: InvalidInputError: the record has another format, or holds no curve."""
    version = record.get("format")
    require(version == CURVE_FORMAT, f"a curve must have format {CURVE_FORMAT}", format=version)
    lacking = sorted(_ENTRIES - record.keys())
    require(not lacking, "a curve's record must be whole", "Give what LRCurve.to_json() returned.", lacking=lacking)
    gain_ratio, plan = record["gain_ratio"], record.get("plan")  # older versions wrote none
    return LRCurve(
        lr=np.asarray(record["lr"]),
        loss=np.asarray(record["loss"]),
        gain_ratio=None if gain_ratio is None else np.asarray(gain_ratio),
        metrics={name: np.asarray(values) for name, values in record["metrics"].items()},
        stopped=record["stopped"],
        num_steps=record["num_steps"],
        num_forwards=record["num_forwards"],
        ramp=record["ramp"],
        optimizer=record["optimizer"],
        group_ratios=tuple(record.get("group_ratios", ())),
        plan=None if plan is None else Plan.from_json(plan),
        members=tuple(curve_of(member) for member in record["members"]),
    )


def write_curve(curve: LRCurve, path: str | Path) -> None:
    """Write the curve to a file. Raises: OutputError: the file cannot be written."""
    try:
        Path(path).write_text(json.dumps(record_of(curve)))
    except OSError as error:
        raise OutputError(
            f"The curve must go to a file that can be written, but got {path}: {error.strerror}."
        ) from error


def read_curve(path: str | Path) -> LRCurve:
    """Read a curve that `write_curve` wrote. Raises: InvalidInputError: it is no such file."""
    try:
        return curve_of(json.loads(Path(path).read_text()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidInputError(f"path must be a file that LRCurve.save wrote, but got {path}: {error}") from error


def frame_of(curve: LRCurve) -> pd.DataFrame:
    """A row a step: step, lr, loss, smoothed, slope, gain_ratio where measured, and the metrics."""
    import pandas as pd

    first = {"step": np.arange(len(curve.lr)), "lr": curve.lr, "loss": curve.loss}
    columns: dict[str, Any] = {**first, "smoothed": curve.smoothed, "slope": curve.slope}
    if curve.gain_ratio is not None:
        columns["gain_ratio"] = curve.gain_ratio
    return pd.DataFrame(columns | dict(curve.metrics))
