"""Records of studies that were never run, so that what a report makes of them is known."""

import numpy as np

from lr_search.storage.records import StudyRecord, TrialRecord

PLAN = {
    "comparison": "by hand",
    "strategy": "grid",
    "schedule": "constant",
    "optimizer": "SGD",
    "seed": 0,
    "order": 0,
    "num_steps": 10,
    "lr_range": [1e-5, 10.0],
    "objective": "loss",
    "direction": "minimize",
    "schedule_shape": "flat",
    "shape": {"step": [0, 9], "lr": [1.0, 1.0], "cycle_ends": []},
}
STEPS = 10


def study(points, *, kind="search", start=1.0, error="", prior=None, **changes):
    """A study of trials (lr, value): a value is the objective at the end, or FAIL, PRUNED or RUNNING.

    start: the objective at step 0. error: the traceback of the failed trials.
    """
    plan = PLAN | {"kind": kind} | changes
    name = "/".join(str(plan[key]) for key in ("comparison", "strategy", "schedule", "optimizer", "seed"))
    trials = [trial(number, lr, value, plan["objective"], start, error) for number, (lr, value) in enumerate(points)]
    return StudyRecord(name, plan, prior, trials)


def trial(number, lr, value, objective="loss", start=1.0, error=""):
    if value == "RUNNING":
        return TrialRecord(number, value, lr, np.nan, {})
    state = value if isinstance(value, str) else "COMPLETE"
    value = {"FAIL": np.nan, "PRUNED": 0.9}.get(value, value)
    ended = {"FAIL": "failed", "PRUNED": "pruned"}.get(state, "finished" if np.isfinite(value) else "diverged")
    seen = [start, value] if np.isfinite(value) else [start]
    outcome = {
        "ended": ended,
        "reason": f"it {ended}",
        "steps": STEPS,
        "evaluations": {
            "step": [0, STEPS][: len(seen)],
            "lr": [lr] * len(seen),
            "train_loss": [np.nan, 0.5][: len(seen)],
            "end_of_cycle": [False] * len(seen),
            "metrics": {objective: seen},
        },
        "curve": None,
        "error": error if state == "FAIL" else None,
        "seconds": 0.5,
        "started": "2026-01-02T03:04:05.000+00:00",
        "device": "cpu",
    }
    return TrialRecord(number, state, lr, value, outcome)
