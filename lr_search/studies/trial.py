"""What a worker is passed of a trial, and what it returns. Knows no study and no storage.

One trial goes through these states, each of which has one name:

    Job           asked for: the executor holds it, and reports to its study (studies/job.py)
    TrialSpec     what is sent to where it is trained
    Run           where it is trained: TrialRun by itself, LaneRun among others (in executors)
    Outcome       what comes back from there, and is stored
    TrialRecord   what the storage gives back, with numbers alone (storage/records.py)

`lr_search_ray` holds a Job whose Run is in another process as a RemoteJob, and hands it to Tune within a TuneTrial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lr_search.curves.curve import LRCurve
from lr_search.curves.probe import Ladder, Probe
from lr_search.schedules.base import Schedule
from lr_search.storage.keys import EVALUATIONS
from lr_search.training.controller import Controller
from lr_search.training.evaluation import Evaluation

Ended = Literal["running", "finished", "diverged", "pruned", "failed"]


@dataclass(frozen=True)
class TrialSpec:
    """What a worker is passed.

    Args:
        seed: of the weights and the batches.
        schedule: of a training, or its controller; None for a range test or probe.
        range_test: the range test's arguments; None for anything else.
        probe: the range of LRs to probe, and its ladder; None for anything else.
        on_test_data: whether to judge on the workload's test data (to confirm a result).
        snapshots: how many of the last cycle ends' models to judge together at the end of a training; 0: none.
        num_steps: of a pilot; None: the workload's.
    """

    seed: int
    schedule: Schedule | Controller | None = None
    range_test: dict[str, Any] | None = None
    probe: tuple[tuple[float, float], Ladder] | None = None
    on_test_data: bool = False
    snapshots: int = 0
    num_steps: int | None = None


@dataclass
class Outcome:
    """What a worker returns.

    Args:
        ended: how the trial ended; "running" until that is known.
        reason: why, in words.
        steps: optimizer steps it took.
        evaluations: in the order of their steps.
        curve: of a range test.
        probe: what a probe found.
        ensemble: of the snapshots at the cycles' ends: `members` (how many) and `metrics`, or why there are none, `error`.
        error: the traceback of an exception in the user's code.
        seconds: in training and evaluating.
        started: UTC, ISO 8601.
        device: what it ran on, with the number of CPU threads.
        worker: which process ran it: machine and process id; of trials that were trained together also /1, /2, ...
        out_of_time: whether it failed since it took longer than it may: another try would too. Not stored.
    """

    ended: Ended = "running"
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
    worker: str = ""
    out_of_time: bool = False

    def record(self) -> dict[str, Any]:
        """Plain numbers and names, for one attribute of the trial; the evaluations come last (see `split_record`)."""
        names = sorted({name for evaluation in self.evaluations for name in evaluation.metrics})
        return {
            "ended": self.ended,
            "reason": self.reason,
            "steps": self.steps,
            "curve": None if self.curve is None else self.curve.to_json(),
            **({} if self.probe is None else {"probe": self.probe.to_json()}),
            **({} if self.ensemble is None else {"ensemble": self.ensemble}),
            "error": self.error,
            "seconds": self.seconds,
            "started": self.started,
            "device": self.device,
            "worker": self.worker,
            EVALUATIONS: {
                "step": [e.step for e in self.evaluations],
                "lr": [e.lr for e in self.evaluations],
                "train_loss": [e.train_loss for e in self.evaluations],
                "end_of_cycle": [e.end_of_cycle for e in self.evaluations],
                "metrics": {name: [e.metrics.get(name, float("nan")) for e in self.evaluations] for name in names},
            },
        }


def finding(record: Mapping[str, Any]) -> LRCurve | Probe:
    """What a range test or probe found, from its outcome's record."""
    return Probe.from_json(record["probe"]) if "probe" in record else LRCurve.from_json(record["curve"])
