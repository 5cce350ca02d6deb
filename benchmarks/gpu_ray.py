"""The part of `gpu.py` that trains two trials at a time on one card by Ray, against one at a time."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fused_tasks import TASKS
from gpu_part import Asked, Part, Row, missing

import lr_search as lrs

MOST_APART = 1e-3  # of the losses
TOGETHER, TRIALS = 2, 4  # the second two begin where the first two end, whichever worker was there first


@dataclass(frozen=True)
class Plan:
    """A transformer of `fused.py` for so many steps."""

    task: str
    steps: int


FULL, QUICK = Plan("transformer 64", 1200), Plan("transformer 32", 300)


def left_out(device: str) -> str:
    """Without Ray there is nothing to ask."""
    return missing("Ray", "ray")


def rows(asked: Asked) -> Iterator[Row]:
    """Two at a time, then one at a time."""
    import ray

    from lr_search_ray import RayExecutor
    from lr_search_ray.cluster.quiet import quiet

    plan = QUICK if asked.quick else FULL
    work = TASKS[plan.task].workload("SGD", plan.steps, asked.device)
    share = {"cpu": 1.0, **({"gpu": 1 / TOGETHER} if asked.device == "cuda" else {})}
    with quiet():
        ray.init(
            address="local", num_cpus=TOGETHER, num_gpus=int(asked.device == "cuda"),
            include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL,
        )  # fmt: skip
        first: Sequence[float] = ()
        try:
            for most in (TOGETHER, 1):
                if asked.seconds_left <= 0:
                    yield {"at_once": most, "ended": "the clock ran out"}
                    continue
                row = measured(work, most, RayExecutor(resources_per_trial=share, max_concurrent_trials=most))
                first = first or row["losses"]
                apart = max(abs(one / other - 1) for one, other in zip(row["losses"], first, strict=True))
                yield {
                    **row,
                    "on_asked_device": (asked.device == "cpu") == row["device"].startswith("cpu"),
                    "apart": apart,
                }
        finally:
            ray.shutdown()


def measured(work: lrs.Workload, most: int, executor: Any) -> dict[str, Any]:
    """Seconds, of the comparison and from the first trial's start to the last one's end; how many ran at once."""
    begun = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()):
        found = lrs.compare(
            work, strategies=["grid"], schedules=["constant"], lr_range=(1e-3, 0.05), budget=TRIALS, seeds=1,
            executor=executor, storage=None, progress=False,
        ).trials  # fmt: skip
    spans = list(zip(found["started"], found["ended"], strict=True))
    return {
        "at_once": most,
        "seconds": round(time.monotonic() - begun, 1),
        "trained_seconds": (found["ended"].max() - found["started"].min()).total_seconds(),
        "trial_seconds": float(found["seconds"].median()),
        "most_at_once": max_at_once(spans),
        "workers": int(found["worker"].nunique()),
        "device": str(found["device"].iloc[0]),
        "finished": int((found["outcome"] == "finished").sum()),
        "losses": found.sort_values("lr")["loss"].tolist(),
    }


def max_at_once(spans: Sequence[tuple[Any, Any]]) -> int:
    """How many spans (from, to) have a moment in common, at most."""
    return max((sum(begin <= moment < end for begin, end in spans) for moment, _ in spans), default=0)


def cells(row: Row) -> Sequence[str]:
    """Of the table."""
    if "ended" in row:
        return [str(row["at_once"]), *[""] * (len(HEADS) - 2), row["ended"]]
    seconds = [f"{row[name]:.1f}" for name in ("trained_seconds", "trial_seconds", "seconds")]
    return [str(row["at_once"]), str(row["most_at_once"]), str(row["workers"]), *seconds, row["device"]]


def wrong(row: Row) -> str:
    """They did not run at once, or not all came to their end."""
    if "ended" in row:
        return ""
    told = []
    if row["most_at_once"] != row["at_once"]:
        told.append(f"{row['most_at_once']} trials ran at once where {row['at_once']} should have")
    if row["finished"] != TRIALS:
        told.append(f"{row['finished']} of {TRIALS} trials finished")
    if not row["apart"] <= MOST_APART:
        told.append(f"the losses are {row['apart']:.0e} from those of {TOGETHER} at once")
    if not row["on_asked_device"]:
        told.append(f"they were trained on {row['device']}")
    return "; ".join(told)


HEADS = ["at once", "seen", "workers", "first start to last end, s", "a trial, s", "comparison, s", "device"]
PART = Part(f"Ray: {TRIALS} trials on one card", 100.0, left_out, rows, HEADS, cells, wrong)
