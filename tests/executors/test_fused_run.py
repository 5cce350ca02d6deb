"""Trials that are trained together: what becomes of each is what becomes of it by itself, to rounding."""

from __future__ import annotations

from typing import Any

import pytest

import lr_search as lrs
from lr_search.errors import StorageError, WorkloadError
from lr_search.executors.fused_run import FusedRun
from lr_search.executors.solo_runs import run_trial
from lr_search.fused import trials as fused_training
from lr_search.fused.losses import FusedLoss
from lr_search.fused.support import support_of
from lr_search.studies.trial import Outcome, TrialSpec
from lr_search.training.evaluation import Evaluation
from tests.helpers.workloads import line

STEPS = 30
LRS = (0.01, 0.1, 1e20)  # the last diverges


def specs(schedule: str = "constant") -> list[TrialSpec]:
    return [TrialSpec(3, schedule=lrs.schedules.by_name(schedule, lr, STEPS, 8), snapshots=2) for lr in LRS]


def fused(workload: lrs.Workload, schedule: str = "constant") -> FusedRun:
    return FusedRun([(workload, spec) for spec in specs(schedule)], support_of)


def trained(run: FusedRun, reports: dict[int, Any] | None = None) -> list[Outcome]:
    """The outcomes at the end; a trial's report says whether to prune it."""
    for advanced in run:
        for each in advanced:
            if each.evaluation is not None:
                each.tell((reports or {}).get(each.index, never), each.evaluation)
    outcomes = [each.outcome for each in run.runs]
    run.close()
    return outcomes


def never(evaluation: Evaluation) -> bool:
    return False


def after_ten(evaluation: Evaluation) -> bool:
    return evaluation.step >= 10


def raises(evaluation: Evaluation) -> bool:
    raise ValueError("a bug of the pruner's")


def require_same(one: Outcome, other: Outcome) -> None:
    names = ("ended", "reason", "steps", "device")
    assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]
    assert [each.step for each in one.evaluations] == [each.step for each in other.evaluations]
    losses = [[each.metrics["loss"] for each in outcome.evaluations] for outcome in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert (one.ensemble is None) == (other.ensemble is None)
    if one.ensemble is not None and other.ensemble is not None:
        assert one.ensemble["members"] == other.ensemble["members"]
        assert one.ensemble["metrics"] == pytest.approx(other.ensemble["metrics"], rel=1e-4)


@pytest.mark.parametrize("schedule", ["constant", "sgdr"])
def test_each_ends_as_it_does_alone(schedule: str) -> None:
    workload = line(combine="mean", num_steps=STEPS)
    outcomes = trained(fused(workload, schedule))
    for outcome, spec in zip(outcomes, specs(schedule), strict=True):
        require_same(outcome, run_trial(workload, spec, never))
    assert [outcome.ended for outcome in outcomes] == ["finished", "finished", "diverged"]
    assert (outcomes[0].ensemble is not None) == (schedule == "sgdr")


def test_the_place_among_the_others_is_told_with_the_worker() -> None:
    outcomes = trained(fused(line(num_steps=STEPS)))
    (worker,) = {outcome.worker.rpartition("/")[0] for outcome in outcomes}
    assert [outcome.worker for outcome in outcomes] == [f"{worker}/{place}" for place in (1, 2, 3)]


def test_one_is_pruned_and_the_others_go_on() -> None:
    workload = line(num_steps=STEPS)
    outcomes = trained(fused(workload), {1: after_ten})
    require_same(outcomes[1], run_trial(workload, specs()[1], after_ten))
    assert [outcome.ended for outcome in outcomes] == ["finished", "pruned", "diverged"]


def test_a_pruner_that_raises_is_that_trials_failure() -> None:
    outcomes = trained(fused(line(num_steps=STEPS)), {0: raises})
    assert (outcomes[0].ended, outcomes[0].steps) == ("failed", 0)
    assert "ValueError: a bug of the pruner's" in outcomes[0].reason
    assert "Traceback" in str(outcomes[0].error)
    assert outcomes[1].ended == "finished"


@pytest.mark.parametrize("error", [StorageError, WorkloadError])
def test_what_is_the_whole_comparisons_is_raised(error: type[Exception]) -> None:
    def report(evaluation: Evaluation) -> bool:
        raise error("The storage must be there, but is away.")

    run = fused(line(num_steps=STEPS))
    with pytest.raises(error, match="is away"), run.failures_kept():
        trained(run, {0: report})
    assert run.failure is None
    run.close()


def test_an_exception_of_the_training_ends_it_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(FusedLoss):
        calls = 0

        def backward(self, batches: Any) -> Any:
            self.calls += 1
            if self.calls == 15:
                raise RuntimeError("vmap: it cannot do that")
            return super().backward(batches)

    monkeypatch.setattr(fused_training, "FusedLoss", Broken)
    run = fused(line(num_steps=STEPS))
    with run.failures_kept():
        trained(run)
    assert isinstance(run.failure, RuntimeError)
    assert run.failure.__traceback__ is None
    assert run.runs == []
