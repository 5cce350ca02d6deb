"""One trial where it is trained. Knows no study, no storage and no executor."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from lr_search.ensembles.ensemble import SnapshotEnsemble
from lr_search.errors import StorageError, WorkloadError, told
from lr_search.ramp.descending_probe import descending_probe
from lr_search.studies.trial import Outcome, TrialSpec
from lr_search.training.controller import first_schedule
from lr_search.training.evaluation import Evaluation
from lr_search.training.snapshots import Snapshot
from lr_search.training.training import Training, train
from lr_search.workloads.workload import Workload

Report = Callable[[Evaluation], bool]  # told of each evaluation; whether to prune the trial here


class Trained(Protocol):
    """What is read of a training that has stopped: a `Training`, or one of several that are trained together."""

    @property
    def workload(self) -> Workload: ...  # noqa: D102
    @property
    def stopped(self) -> str | None: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def snapshots(self) -> list[Snapshot]: ...  # noqa: D102
    def evaluate(self, model: nn.Module) -> dict[str, float]: ...  # noqa: D102


def run_trial(workload: Workload, spec: TrialSpec, report: Report) -> Outcome:
    """Train, or run the range test or probe; an exception in the user's code becomes part of the answer.

    Args:
        workload: what is trained.
        spec: under which schedule and seed.
        report: told of each evaluation; may ask for the trial to be pruned.
    """
    run = TrialRun(workload, spec)
    try:
        for evaluation in run:
            run.tell(report, evaluation)
    finally:
        run.close()
    return run.outcome


class TrialRun(Iterator[Evaluation]):
    """A trial evaluation by evaluation; a range test or probe has none, and is run by the first `next`.

    Args:
        workload: what is trained.
        spec: under which schedule and seed.

    Attributes:
        outcome: what became of it so far; whole once `over`.
        over: whether nothing is left to do; known with the last evaluation.
    """

    def __init__(self, workload: Workload, spec: TrialSpec) -> None:
        self._workload, self._spec = judged_by(workload, spec), spec
        self._training: Training | None = None
        self.over = False
        self.outcome = begun(workload)

    def __next__(self) -> Evaluation:
        """Train on to the next evaluation."""
        evaluation: Evaluation | None = None
        if not self.over:
            with self._failures_kept():
                evaluation = self._next()
        if evaluation is None:
            self.over = True
            raise StopIteration
        return evaluation

    def _next(self) -> Evaluation | None:
        spec, outcome = self._spec, self.outcome
        if spec.range_test is not None:
            outcome.curve = self._workload.range_test(spec.seed, **spec.range_test)
            outcome.steps = outcome.curve.steps_charged
            outcome.reason = outcome.curve.suggest().reason
            return None
        if spec.probe is not None:
            lr_range, ladder = spec.probe
            outcome.probe = descending_probe(self._workload, spec.seed, lr_range=lr_range, ladder=ladder)
            outcome.steps, outcome.reason = outcome.probe.steps_charged, outcome.probe.reason
            return None
        training = self._begun()
        evaluation = next(training, None)
        if evaluation is not None:
            outcome.evaluations.append(evaluation)
        if training.stopped is not None:
            self._end(training)
        return evaluation

    def advance(self, step: int) -> None:
        """Train on to that step, which lies before the next evaluation; of a training."""
        with self._failures_kept():
            self._begun().advance(step)

    def _begun(self) -> Training:
        if self._training is None:
            self._training = training_of(self._workload, self._spec)
        return self._training

    def _end(self, training: Training) -> None:
        conclude(self.outcome, training)
        self.over = True

    def tell(self, report: Report, evaluation: Evaluation) -> None:
        """Report an evaluation, and prune if the answer says so; an exception there, as in a pruner, is the trial's failure."""
        with self._failures_kept():
            if report(evaluation):
                self.prune()

    @contextmanager
    def _failures_kept(self) -> Iterator[None]:
        """An exception in the user's code becomes the outcome; what is spent is counted."""
        begun = time.perf_counter()
        try:
            yield
        except (WorkloadError, StorageError):  # the whole comparison's, not this trial's
            raise
        except Exception as error:
            fail(self.outcome, error)
            self.over = True
        finally:
            if self._training is not None:
                self.outcome.steps = self._training.steps_charged
            self.outcome.seconds += time.perf_counter() - begun

    def prune(self) -> None:
        """End it after its last evaluation."""
        cut(self.outcome)
        self.over = True

    @property
    def step(self) -> int:
        """Optimizer steps done; of a training."""
        return 0 if self._training is None else self._training.step

    def next_evaluation(self) -> int | None:
        """The step of the next evaluation; of a training; None where there is none."""
        step: int | None = None
        if self._spec.schedule is not None and not self.over:
            with self._failures_kept():
                step = self._begun().next_evaluation()
        return step

    def state_dict(self) -> dict[str, Any]:
        """What another run of the same trial needs to go on from here, but for the evaluations; of a training.

        Plain containers, numbers and tensors; see `Training.state_dict`.
        """
        outcome = self.outcome
        return {"training": self._begun().state_dict(), "seconds": outcome.seconds, "started": outcome.started}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.outcome.seconds, self.outcome.started = state["seconds"], state["started"]
        with self._failures_kept():
            self._begun().load_state_dict(state["training"])

    def close(self) -> None:
        """Let go of the data."""
        if self._training is not None:
            self._training.close()


def judged_by(workload: Workload, spec: TrialSpec) -> Workload:
    """The workload, with the test data in place of the validation data where the trial is judged on them."""
    if not spec.on_test_data or workload.test_data is None:
        return workload
    return replace(workload, valid_data=workload.test_data)


def begun(workload: Workload) -> Outcome:
    """The outcome of a trial that begins here and now."""
    return Outcome(
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
        device=device_name(workload),
        worker=f"{socket.gethostname()} {os.getpid()}",
    )


def fail(outcome: Outcome, error: Exception) -> None:
    """It ended with an exception in the user's code, which is being handled."""
    outcome.ended, outcome.reason = "failed", told(error)
    outcome.error = traceback.format_exc()


def cut(outcome: Outcome) -> None:
    """It was pruned after its last evaluation."""
    outcome.ended, outcome.reason = "pruned", f"pruned after step {outcome.evaluations[-1].step}"


def conclude(outcome: Outcome, training: Trained) -> None:
    """How a training ended that has stopped by itself."""
    work = training.workload
    outcome.ended, outcome.reason = ("diverged" if training.stopped == "diverged" else "finished"), training.reason
    if outcome.ended == "finished":  # one that diverged may have none, where it went on from a state
        value = outcome.evaluations[-1].metrics[work.objective]
        if not np.isfinite(value):
            outcome.ended, outcome.reason = "diverged", f"{work.objective} was {value} at the end"
    if outcome.ended == "finished" and len(training.snapshots) > 1:
        outcome.ensemble = _judged_ensemble(training)


def training_of(workload: Workload, spec: TrialSpec) -> Training:
    """A training that has not begun."""
    assert spec.schedule is not None
    return train(workload, spec.schedule, seed=spec.seed, snapshots=kept_snapshots(workload, spec))


def kept_snapshots(workload: Workload, spec: TrialSpec) -> int:
    """How many to keep: none where nothing says how to combine them, or where they are not of several cycles."""
    assert spec.schedule is not None
    cycles = len(first_schedule(spec.schedule).cycle_ends(workload.num_steps))
    return 0 if workload.combine is None or cycles < 2 else spec.snapshots


def _judged_ensemble(training: Trained) -> dict[str, Any]:
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
