"""What becomes of a trial: the outcome it begins with, and how each end of it is written there."""

from __future__ import annotations

import os
import socket
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from lr_search.curves.curve import LRCurve
from lr_search.ensembles.ensemble import SnapshotEnsemble
from lr_search.errors import error_text, printable, user_code
from lr_search.executors.time_limits.alarm import TrialTimeoutError
from lr_search.studies.pilot_layout import as_pilot
from lr_search.studies.trial import Outcome, TrialSpec
from lr_search.training.controller import first_schedule
from lr_search.training.snapshots import Snapshot
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload


class Trained(Protocol):
    """What is read of a training that has stopped: a `Training`, or one of several that are trained together."""

    @property
    def workload(self) -> Workload: ...  # noqa: D102
    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def stopped(self) -> str | None: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def snapshots(self) -> list[Snapshot]: ...  # noqa: D102
    def evaluate(self, model: nn.Module) -> dict[str, float]: ...  # noqa: D102


def begun(subject: Subject) -> Outcome:
    """The outcome of a trial that begins here and now."""
    return Outcome(
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
        device=device_name(subject),
        worker=f"{socket.gethostname()} {os.getpid()}",
    )


def fail(outcome: Outcome, error: Exception) -> None:
    """It ended with an exception in the user's code, which is being handled."""
    outcome.ended, outcome.reason = "failed", error_text(error)
    outcome.out_of_time = isinstance(error, TrialTimeoutError)
    outcome.error = printable(traceback.format_exc())


def cut(outcome: Outcome) -> None:
    """It was pruned after its last evaluation."""
    outcome.ended, outcome.reason = "pruned", f"pruned after step {outcome.evaluations[-1].step}"


def finish(outcome: Outcome, reason: str) -> None:
    """It has come to its end."""
    outcome.ended, outcome.reason = "finished", reason


def tell_curve(outcome: Outcome, curve: LRCurve) -> None:
    """A range test has come to its end."""
    outcome.curve, outcome.steps = curve, curve.steps_charged
    finish(outcome, curve.suggest().reason)


def conclude(outcome: Outcome, training: Trained) -> None:
    """How a training ended that goes on no further: finished only at its last step."""
    work = training.workload
    if training.stopped == "diverged":
        outcome.ended, outcome.reason = "diverged", training.reason
    elif training.stopped != "finished" or training.step != work.num_steps:
        outcome.ended = "failed"
        outcome.reason = f"stopped at step {training.step} of {work.num_steps}: {training.reason or 'no reason given'}"
    elif not np.isfinite(value := outcome.evaluations[-1].metrics[work.objective]):
        outcome.ended, outcome.reason = "diverged", f"{work.objective} was {value} at the end"
    else:
        finish(outcome, training.reason)
        if len(training.snapshots) > 1:
            outcome.ensemble = _judged_ensemble(training)


def _judged_ensemble(training: Trained) -> dict[str, Any]:
    """The metrics of the kept snapshots together; a metric may fail on an ensemble, which is not the trial's fault."""
    members = len(training.snapshots)
    try:
        with user_code:
            metrics = training.evaluate(SnapshotEnsemble(training.workload, training.snapshots))
    except Exception as error:
        return {"members": members, "error": error_text(error)}
    return {"members": members, "metrics": metrics}


def judged_by(workload: Workload, spec: TrialSpec) -> Workload:
    """The workload, as long as the trial, and with the test data in place of the validation data where it is judged on them."""
    if spec.num_steps is not None:
        return as_pilot(workload, spec.num_steps)
    if not spec.on_test_data or workload.test_data is None:
        return workload
    return replace(workload, valid_data=workload.test_data)


def kept_snapshots(workload: Workload, spec: TrialSpec) -> int:
    """How many to keep: none where nothing says how to combine them, or where they are not of several cycles."""
    assert spec.schedule is not None
    cycles = len(first_schedule(spec.schedule).cycle_ends(workload.num_steps))
    return 0 if workload.combine is None or cycles < 2 else spec.snapshots


def device_name(subject: Subject) -> str:
    """The device, and on a CPU how many threads: the last bits depend on them."""
    if subject.torch_device.type == "cuda":
        return torch.cuda.get_device_name(subject.torch_device)
    threads = torch.get_num_threads()
    return f"{subject.torch_device} ({threads} thread{'s' if threads > 1 else ''})"
