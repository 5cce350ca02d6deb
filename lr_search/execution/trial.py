"""One trial where it is trained: what a worker is told, and what it answers. Knows no study and no storage."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import torch

from lr_search.controllers.base import Controller, first_schedule
from lr_search.curve import LRCurve
from lr_search.ensemble import SnapshotEnsemble
from lr_search.errors import StorageError, WorkloadError, told
from lr_search.evaluation import Evaluation
from lr_search.ladder import Ladder, Probe
from lr_search.probe import descending_probe
from lr_search.schedules.base import Schedule
from lr_search.training import Training, train
from lr_search.workload import Workload

Ended = Literal["finished", "diverged", "pruned", "failed"]
Report = Callable[[Evaluation], bool]  # told of each evaluation; whether to prune the trial here


@dataclass(frozen=True)
class TrialSpec:
    """What a worker is told.

    Args:
        seed: of the weights and the batches.
        schedule: of a training, or its controller; None for a range test or probe.
        range_test: the range test's arguments; None for anything else.
        probe: the range of LRs to probe, and its ladder; None for anything else.
        on_test_data: whether to judge on the workload's test data (to confirm a result).
        snapshots: how many of the last cycle ends' models to judge together at the end of a training; 0: none.
    """

    seed: int
    schedule: Schedule | Controller | None = None
    range_test: dict[str, Any] | None = None
    probe: tuple[tuple[float, float], Ladder] | None = None
    on_test_data: bool = False
    snapshots: int = 0


@dataclass
class Outcome:
    """What a worker answers.

    Args:
        ended: how the trial ended.
        reason: why, in words.
        steps: optimizer steps it took.
        evaluations: in the order of their steps.
        curve: of a range test.
        probe: what a probe found.
        ensemble: of the snapshots at the cycles' ends: `members` (how many) and `metrics`, or why there are none, `error`.
        error: the traceback of an exception in the user's code.
        seconds: wall time.
        started: UTC, ISO 8601.
        device: where it ran, with the number of CPU threads.
    """

    ended: Ended = "finished"
    reason: str = ""
    steps: int = 0
    evaluations: list[Evaluation] = field(default_factory=list)
    curve: LRCurve | None = None
    probe: Probe | None = None
    ensemble: dict[str, Any] | None = None
    error: str | None = None
    seconds: float = 0.0
    started: str = ""
    device: str = ""

    def record(self) -> dict[str, Any]:
        """Plain numbers and names, for one attribute of the trial."""
        names = sorted({name for evaluation in self.evaluations for name in evaluation.metrics})
        return {
            "ended": self.ended,
            "reason": self.reason,
            "steps": self.steps,
            "evaluations": {
                "step": [e.step for e in self.evaluations],
                "lr": [e.lr for e in self.evaluations],
                "train_loss": [e.train_loss for e in self.evaluations],
                "end_of_cycle": [e.end_of_cycle for e in self.evaluations],
                "metrics": {name: [e.metrics.get(name, float("nan")) for e in self.evaluations] for name in names},
            },
            "curve": None if self.curve is None else self.curve.to_json(),
            **({} if self.probe is None else {"probe": self.probe.to_json()}),
            **({} if self.ensemble is None else {"ensemble": self.ensemble}),
            "error": self.error,
            "seconds": self.seconds,
            "started": self.started,
            "device": self.device,
        }


def finding(record: Mapping[str, Any]) -> LRCurve | Probe:
    """What a range test or probe found, from its outcome's record."""
    return Probe.from_json(record["probe"]) if "probe" in record else LRCurve.from_json(record["curve"])


def run_trial(workload: Workload, spec: TrialSpec, report: Report) -> Outcome:
    """Train, or run the range test or probe; an exception in the user's code becomes part of the answer.

    Args:
        workload: what is trained.
        spec: under which schedule and seed.
        report: told of each evaluation; may ask for the trial to be pruned.
    """
    begun = time.perf_counter()
    outcome = Outcome(started=datetime.now(UTC).isoformat(timespec="milliseconds"), device=device_name(workload))
    try:
        if spec.range_test is not None:
            _run_range_test(workload, spec, outcome)
        elif spec.probe is not None:
            _run_probe(workload, spec, outcome)
        else:
            _run_training(workload, spec, report, outcome)
    except (WorkloadError, StorageError):  # the whole comparison's, not this trial's
        raise
    except Exception as error:
        outcome.ended, outcome.reason = "failed", told(error)
        outcome.error = traceback.format_exc()
    outcome.seconds = time.perf_counter() - begun
    return outcome


def _run_range_test(workload: Workload, spec: TrialSpec, outcome: Outcome) -> None:
    assert spec.range_test is not None
    outcome.curve = workload.range_test(spec.seed, **spec.range_test)
    outcome.steps = outcome.curve.steps_charged
    outcome.reason = outcome.curve.suggest().reason


def _run_probe(workload: Workload, spec: TrialSpec, outcome: Outcome) -> None:
    assert spec.probe is not None
    lr_range, ladder = spec.probe
    outcome.probe = descending_probe(workload, spec.seed, lr_range=lr_range, ladder=ladder)
    outcome.steps = outcome.probe.steps_charged
    outcome.reason = outcome.probe.reason


def _run_training(workload: Workload, spec: TrialSpec, report: Report, outcome: Outcome) -> None:
    assert spec.schedule is not None
    if spec.on_test_data and workload.test_data is not None:
        from dataclasses import replace

        workload = replace(workload, valid_data=workload.test_data)
    training = train(workload, spec.schedule, seed=spec.seed, snapshots=_snapshots(workload, spec))
    try:
        for evaluation in training:
            outcome.evaluations.append(evaluation)
            if report(evaluation):
                outcome.ended, outcome.reason = "pruned", f"pruned after step {evaluation.step}"
                return
        outcome.ended, outcome.reason = ("diverged" if training.stopped == "diverged" else "finished"), training.reason
        value = outcome.evaluations[-1].metrics[workload.objective]
        if outcome.ended == "finished" and not np.isfinite(value):
            outcome.ended, outcome.reason = "diverged", f"{workload.objective} was {value} at the end"
        if outcome.ended == "finished" and len(training.snapshots) > 1:
            outcome.ensemble = _judged_ensemble(training)
    finally:
        outcome.steps = training.steps_charged
        training.close()


def _snapshots(workload: Workload, spec: TrialSpec) -> int:
    """How many to keep: none where nothing says how to combine them, or where they are not of several cycles."""
    assert spec.schedule is not None
    cycles = len(first_schedule(spec.schedule).cycle_ends(workload.num_steps))
    return 0 if workload.combine is None or cycles < 2 else spec.snapshots


def _judged_ensemble(training: Training) -> dict[str, Any]:
    """The metrics of the kept snapshots together; a metric may fail on an ensemble, which is not the trial's fault."""
    members = len(training.snapshots)
    try:
        metrics = training.evaluate(SnapshotEnsemble(training.workload, training.snapshots))
    except Exception as error:
        return {"members": members, "error": told(error)}
    return {"members": members, "metrics": metrics}


def device_name(workload: Workload) -> str:
    """The device, and on a CPU how many threads: the last bits depend on them."""
    if workload.torch_device.type == "cuda":
        return torch.cuda.get_device_name(workload.torch_device)
    threads = torch.get_num_threads()
    return f"{workload.torch_device} ({threads} thread{'s' if threads > 1 else ''})"
