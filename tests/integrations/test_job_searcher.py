"""The searcher of a comparison's trials, driven by made-up results instead of Ray: what it proposes, and what it tells the studies."""

import tempfile
from dataclasses import dataclass, field
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from ray.tune import Checkpoint
from ray.tune.search import Searcher

from lr_search.errors import StorageError, TrialsFailedError, WorkloadError
from lr_search.evaluation import Evaluation
from lr_search.execution.claims import OWNER
from lr_search.execution.plan import RECORD
from lr_search.execution.study import Job, StudyTask
from lr_search.execution.trial import Outcome
from lr_search.execution.work import Work
from lr_search.progress import Progress
from lr_search_ray.job_searcher import JobSearcher
from lr_search_ray.job_trainable import ASSIGNMENT, CHARGED, EVALUATION, OUTCOME, RAISED, Assignment
from tests import sharing
from tests.workloads import line

CURVE = line().range_test(seed=0, num_steps=20)
FINISHED = Searcher.FINISHED


class Running(Progress):
    """Knows which trials it was told to be running."""

    def __init__(self) -> None:
        super().__init__(0, 0, shown=False)
        self.running: list[str] = []
        self.ended: list[str] = []

    def begin(self, job: Job) -> None:
        assert job.name not in self.running
        self.running.append(job.name)

    def put_back(self, job: Job) -> None:
        self.running.remove(job.name)

    def end(self, job: Job, outcome: Outcome) -> None:
        self.put_back(job)
        self.ended.append(outcome.ended)


@dataclass
class TuneTrial:
    """What Tune knows of a trial that has ended, or was lost."""

    trial_id: str
    checkpoint: Checkpoint | None
    error_file: str | None


def evaluation(step: int, loss: float) -> Evaluation:
    return Evaluation(step, lr=0.1, train_loss=loss, metrics={"loss": loss}, end_of_cycle=False)


@dataclass
class Tune:
    """Calls the hooks as Tune's loop does."""

    tasks: list[StudyTask]
    at_once: int = 100
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.progress, self.work = Running(), Work(self.tasks)
        self.searcher = JobSearcher(
            self.work, self.progress, lambda: self.at_once, **{"max_failures": 2, **self.options}
        )
        self._count = 0

    def suggest(self) -> Any:
        """Returns: Tune's name of the trial and what its worker gets; or None, or FINISHED."""
        trial_id = f"tune {self._count}"
        got = self.searcher.suggest(trial_id)
        if not isinstance(got, dict):
            return got
        self._count += 1
        return trial_id, got[ASSIGNMENT]

    def start(self) -> tuple[str, Assignment]:
        """A worker takes up what is suggested."""
        trial_id, assignment = self.suggest()
        self.searcher.started(trial_id)
        return trial_id, assignment

    def evaluate(self, trial_id: str, step: int, loss: float) -> bool:
        result = {EVALUATION: evaluation(step, loss), CHARGED: step, "step": step, "seconds": 0.1 * step}
        if step == 0:
            result[OUTCOME] = Outcome(started="noon", device="abacus")
        return self.searcher.heard(trial_id, result)

    def end(self, trial_id: str, outcome: Outcome | None = None, *, loss: float = 1.0) -> None:
        """Its last result: all 30 steps done, or another outcome without evaluation."""
        result: dict[str, Any] = {"seconds": 3.0, "step": 30, CHARGED: 30}
        if outcome is None:
            result |= {OUTCOME: Outcome(steps=30, started="noon"), EVALUATION: evaluation(30, loss)}
        else:
            result |= {OUTCOME: outcome, CHARGED: outcome.steps}
        self.searcher.seen(TuneTrial(trial_id, None, None))  # type: ignore[arg-type]
        self.searcher.on_trial_complete(trial_id, result)

    def fail(self, trial_id: str, reason: str, error: str = "a traceback") -> None:
        self.end(trial_id, Outcome("failed", reason, steps=20, error=error))

    def lose(self, trial_id: str, checkpoint: Checkpoint | None = None, words: str = "The actor died.") -> None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(f"Failure # 1 (occurred at noon)\n{words}\n")
            file.flush()
            self.searcher.seen(TuneTrial(trial_id, checkpoint, file.name))  # type: ignore[arg-type]
        self.searcher.on_trial_complete(trial_id, error=True)

    def trials(self, study: int = -1) -> list[FrozenTrial]:
        return self.tasks[study].trials()

    def states(self) -> list[str]:
        return [trial.state.name for task in self.tasks for trial in task.trials()]


@pytest.fixture
def tune() -> Any:
    """Makes a comparison's searcher: by default one study of a grid of three."""

    def make(at_once: int = 100, options: dict[str, Any] | None = None, **changes: Any) -> Tune:
        one = {"strategies": ["grid"], "schedules": ["constant"], "seeds": 1, "budget": 3}
        return Tune(sharing.tasks(optuna.storages.InMemoryStorage(), **{**one, **changes}), at_once, options or {})

    return make


def steps(trial: FrozenTrial) -> list[int]:
    found: list[int] = trial.user_attrs[RECORD]["evaluations"]["step"]
    return found


# what is proposed


def test_what_a_worker_gets_is_the_trial_and_nothing_of_the_study(tune: Any) -> None:
    _, assignment = tune().suggest()
    assert repr(assignment) == "shared/grid/constant/SGD/seed 0/0"
    assert assignment.optimizer == "SGD"
    assert assignment.resume is None
    assert b"optuna" not in assignment.spec


def test_no_more_trials_than_are_wanted_at_once(tune: Any) -> None:
    driven = tune(at_once=2)
    first, _ = driven.start()
    driven.start()
    assert driven.suggest() is None
    assert driven.states() == ["RUNNING"] * 2
    driven.end(first)
    driven.start()
    assert driven.suggest() is None
    driven.at_once = 0
    assert driven.states() == ["COMPLETE", "RUNNING", "RUNNING"]


def test_a_trial_that_waits_for_a_free_worker_begins_before_a_study_is_asked_again(tune: Any) -> None:
    driven = tune(at_once=2)
    first, _ = driven.start()
    waiting, _ = driven.suggest()
    driven.end(first)
    assert driven.suggest() is None
    assert driven.states() == ["COMPLETE", "RUNNING"]  # the third was not asked for
    driven.searcher.started(waiting)
    third, _ = driven.start()
    driven.end(third)
    driven.end(waiting)
    assert driven.suggest() == FINISHED


def test_nothing_while_all_that_is_left_waits_for_range_tests_and_the_end_when_all_have_ended(tune: Any) -> None:
    driven = tune(strategies=["range_test"], budget=8, range_test={"num_steps": 20, "curves": 2})
    tests = [driven.start()[0], driven.start()[0]]
    for each in tests:
        assert driven.suggest() is None
        driven.end(each, Outcome(steps=CURVE.steps_charged, curve=CURVE))
    while (got := driven.suggest()) != FINISHED:
        driven.end(got[0])
        assert driven.states().count("RUNNING") == 0
    assert set(driven.states()) == {"COMPLETE"}
    assert len(driven.trials()) == (8 * 30 - 2 * CURVE.steps_charged) // 30
    assert driven.searcher.stopped is None


def test_the_end_comes_only_when_the_last_trial_has_ended(tune: Any) -> None:
    driven = tune(budget=1)
    only, _ = driven.start()
    assert driven.suggest() is None
    driven.lose(only)
    again, _ = driven.start()
    assert driven.suggest() is None
    driven.end(again)
    assert driven.suggest() == FINISHED


def test_trials_of_another_process_are_waited_for(tune: Any) -> None:
    driven = tune(budget=1)
    theirs = driven.tasks[0].ask()
    assert driven.suggest() is None
    theirs.release()


# what is told


def test_evaluations_and_outcome_come_together(tune: Any) -> None:
    driven = tune()
    trial, _ = driven.start()
    for step, loss in ((0, 3.0), (10, 2.0), (20, 1.0)):
        assert not driven.evaluate(trial, step, loss)
    driven.end(trial, loss=0.5)
    told = driven.trials()[0]
    assert told.state == TrialState.COMPLETE
    assert told.value == 0.5
    assert steps(told) == [0, 10, 20, 30]
    assert told.user_attrs[RECORD]["evaluations"]["metrics"] == {"loss": [3.0, 2.0, 1.0, 0.5]}
    assert told.user_attrs[RECORD]["steps"] == 30
    assert told.user_attrs[RECORD]["seconds"] == 3.0


class Cuts(optuna.pruners.BasePruner):
    """Whatever is above 1 after step 10."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return (trial.last_step or 0) > 10 and trial.intermediate_values[trial.last_step] > 1  # type: ignore[index]


def test_a_trial_that_the_pruner_cuts_is_told_as_pruned(tune: Any) -> None:
    driven = tune(pruner=Cuts())
    trial, _ = driven.start()
    assert [driven.evaluate(trial, step, 2.0) for step in (0, 10, 20)] == [False, False, True]
    driven.searcher.on_trial_complete(trial, {"step": 20, "seconds": 2.0, CHARGED: 20, EVALUATION: evaluation(20, 2.0)})
    told = driven.trials()[0]
    assert told.state == TrialState.PRUNED
    record = told.user_attrs[RECORD]
    assert (record["ended"], record["reason"], record["steps"]) == ("pruned", "pruned after step 20", 20)
    assert steps(told) == [0, 10, 20]
    assert record["device"] == "abacus"
    driven.start()  # a pruned trial leaves steps to others
    assert driven.progress.ended == ["pruned"]


def test_a_way_to_a_checkpoint_is_no_evaluation_but_counts(tune: Any) -> None:
    driven = tune(pruner=Cuts())
    trial, _ = driven.start()
    driven.evaluate(trial, 0, 3.0)
    assert not driven.searcher.heard(trial, {CHARGED: 7, "step": 7, "seconds": 0.7})
    (assigned,) = driven.searcher._assigned.values()
    assert (assigned.outcome.steps, len(assigned.outcome.evaluations)) == (7, 1)
    assert driven.trials()[0].intermediate_values == {}


# losses


def test_a_lost_trial_is_next_and_goes_on_from_its_checkpoint(tune: Any, tmp_path: Any) -> None:
    driven = tune(at_once=2)
    first, was = driven.start()
    second, _ = driven.start()
    checkpoint = Checkpoint.from_directory(tmp_path)
    driven.lose(first, checkpoint)
    assert driven.progress.running == ["shared/grid/constant/SGD/seed 0/1"]
    assert driven.states() == ["RUNNING", "RUNNING"]  # it is still ours
    again, assignment = driven.start()
    assert again != first
    assert (repr(assignment), assignment.spec) == (repr(was), was.spec)
    assert assignment.resume.path == str(tmp_path)
    driven.lose(again)  # before it made one of its own
    _, assignment = driven.start()
    assert assignment.resume.path == str(tmp_path)
    driven.end(second)
    _, assignment = driven.start()
    assert repr(assignment).endswith("/2")
    assert assignment.resume is None


def test_the_trials_lost_first_are_taken_up_first(tune: Any) -> None:
    driven = tune()
    lost = [driven.start() for _ in range(3)]
    for trial, _ in (lost[1], lost[0], lost[2]):
        driven.lose(trial)
    order = [repr(driven.start()[1])[-1] for _ in range(3)]
    assert order == ["1", "0", "2"]


def test_evaluations_behind_the_checkpoint_are_replaced(tune: Any, tmp_path: Any) -> None:
    driven = tune()
    trial, _ = driven.start()
    for step in (0, 10, 20):
        driven.evaluate(trial, step, 100.0 + step)
    driven.lose(trial, Checkpoint.from_directory(tmp_path))  # made at step 10
    trial, _ = driven.start()
    driven.evaluate(trial, 20, 220.0)
    driven.end(trial, loss=230.0)
    told = driven.trials()[0].user_attrs[RECORD]["evaluations"]
    assert told["step"] == [0, 10, 20, 30]
    assert told["metrics"]["loss"] == [100.0, 110.0, 220.0, 230.0]


def test_without_a_checkpoint_all_are(tune: Any) -> None:
    driven = tune()
    trial, _ = driven.start()
    for step in (0, 10, 20):
        driven.evaluate(trial, step, 100.0 + step)
    driven.lose(trial)
    trial, assignment = driven.start()
    assert assignment.resume is None
    for step in (0, 10):
        driven.evaluate(trial, step, 200.0 + step)
    driven.end(trial, Outcome("diverged", "the training loss became nan at step 13", steps=13))
    told = driven.trials()[0].user_attrs[RECORD]
    assert told["evaluations"]["metrics"]["loss"] == [200.0, 210.0]
    assert (told["ended"], told["steps"]) == ("diverged", 13)
    assert driven.trials()[0].value == float("inf")


def test_the_pruner_is_not_told_twice(tune: Any) -> None:
    driven = tune(pruner=Cuts())
    trial, _ = driven.start()
    for step in (0, 10, 20):
        driven.evaluate(trial, step, 0.5)
    driven.lose(trial)
    trial, _ = driven.start()
    assert [driven.evaluate(trial, step, 0.5) for step in (0, 10, 20)] == [False] * 3
    driven.end(trial)
    assert driven.trials()[0].intermediate_values == {10: 0.5, 20: 0.5}
    assert driven.searcher.stopped is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("The node died.\n\tits address: 10.0.0.7\n", "The node died"),
        (
            "The actor died because of an error raised in its creation task, ray::JobTrainable.__init__() (pid=1)\n"
            '  File "mine.py", line 3, in <module>\n'
            "ModuleNotFoundError: No module named 'mine'\n",
            "ModuleNotFoundError: No module named 'mine'",
        ),
        ("\n", "no reason given"),
    ],
    ids=["node", "traceback", "nothing"],
)
def test_the_line_that_tells_most_is_the_reason(tune: Any, words: str, told: str) -> None:
    driven = tune(options={"max_failures": 0})
    driven.lose(driven.start()[0], words=words)
    assert driven.trials()[0].user_attrs[RECORD]["reason"] == f"its worker was lost: {told}"


@pytest.mark.parametrize("max_failures", [0, 1, 2])
def test_a_worker_lost_too_often_is_a_failure_in_words(tune: Any, max_failures: int) -> None:
    driven = tune(options={"max_failures": max_failures})
    for _ in range(max_failures + 1):
        assert driven.states() in ([], ["RUNNING"])
        trial, _ = driven.start()
        driven.evaluate(trial, 0, 1.0)
        driven.lose(trial, words="The actor died unexpectedly.\nThat was process 17.")
    (told,) = driven.trials()
    assert told.state == TrialState.FAIL
    times = f" ({max_failures + 1} times)" if max_failures else ""
    assert told.user_attrs[RECORD]["reason"] == f"its worker was lost: The actor died unexpectedly{times}"
    assert told.user_attrs[RECORD]["ended"] == "failed"
    assert told.user_attrs[RECORD]["steps"] == 0  # no step was done that anybody knows of
    _, assignment = driven.start()
    assert repr(assignment).endswith("/1")
    assert driven.searcher.stopped is None


def test_the_same_exception_is_not_tried_a_third_time(tune: Any) -> None:
    driven = tune(options={"max_failures": 5})
    for _ in range(2):
        trial, _ = driven.start()
        driven.evaluate(trial, 0, 1.0)
        driven.fail(trial, "ValueError: a bug (mine.py, line 3)")
    told = driven.trials()[0]
    assert told.state == TrialState.FAIL
    record = told.user_attrs[RECORD]
    assert (record["reason"], record["error"]) == ("ValueError: a bug (mine.py, line 3)", "a traceback")
    assert (record["steps"], steps(told)) == (20, [0])
    assert driven.progress.ended == ["failed"]
    assert driven.progress.running == []


def test_different_exceptions_are_tried_until_there_were_too_many(tune: Any) -> None:
    driven = tune(options={"max_failures": 2})
    for number in range(3):
        assert driven.states() in ([], ["RUNNING"])
        trial, _ = driven.start()
        driven.fail(trial, f"ConnectionError: try {number}")
    assert driven.trials()[0].user_attrs[RECORD]["reason"] == "ConnectionError: try 2"


def test_losses_and_exceptions_count_together(tune: Any) -> None:
    driven = tune(options={"max_failures": 1})
    trial, _ = driven.start()
    driven.lose(trial)
    trial, _ = driven.start()
    driven.fail(trial, "ValueError: a bug")
    assert driven.trials()[0].user_attrs[RECORD]["reason"] == "ValueError: a bug"
    trial, _ = driven.start()
    driven.fail(trial, "ValueError: a bug")
    trial, _ = driven.start()
    driven.lose(trial, words="The node died.")
    assert driven.trials()[1].user_attrs[RECORD]["reason"].startswith("its worker was lost: The node died")
    assert driven.trials()[1].user_attrs[RECORD]["error"] is None  # the traceback was another failure's


def test_nothing_of_a_failure_is_left_in_what_went_well_later(tune: Any) -> None:
    driven = tune(pruner=Cuts())
    cut, _ = driven.start()
    driven.evaluate(cut, 0, 2.0)
    driven.evaluate(cut, 10, 2.0)
    driven.fail(cut, "ConnectionError: once")
    cut, _ = driven.start()
    assert driven.evaluate(cut, 20, 2.0)
    driven.end(cut)
    whole, _ = driven.start()
    driven.fail(whole, "ConnectionError: once")
    whole, _ = driven.start()
    driven.evaluate(whole, 0, 0.1)
    driven.end(whole)
    records = [trial.user_attrs[RECORD] for trial in driven.trials()]
    assert [(record["ended"], record["error"]) for record in records] == [("pruned", None), ("finished", None)]
    assert records[0]["reason"] == "pruned after step 20"


def test_a_failed_range_test_gets_a_successor(tune: Any) -> None:
    driven = tune(strategies=["range_test"], budget=8, range_test={"num_steps": 20, "curves": 1})
    for _ in range(2):
        trial, _ = driven.start()
        driven.fail(trial, "ValueError: a bug")
    trial, assignment = driven.start()
    assert "range test" in repr(assignment)
    assert repr(assignment).endswith("/1")
    driven.end(trial, Outcome(steps=CURVE.steps_charged, curve=CURVE))
    assert "range_test/constant" in repr(driven.start()[1])


# the end


def test_three_failures_in_a_row_stop_it(tune: Any) -> None:
    driven = tune(options={"max_failures": 0}, budget=7)
    for well in (False, False, True, False, False, False):
        assert driven.searcher.stopped is None
        trial, _ = driven.start()
        driven.end(trial) if well else driven.fail(trial, "ValueError: a bug")
    assert isinstance(driven.searcher.stopped, TrialsFailedError)
    assert driven.searcher.over()
    assert driven.suggest() == FINISHED
    assert driven.states() == ["FAIL", "FAIL", "COMPLETE", "FAIL", "FAIL", "FAIL"]  # as they were told


def test_what_has_not_ended_is_put_back(tune: Any) -> None:
    driven = tune(budget=5)
    done, lost, running = (driven.start()[0] for _ in range(3))
    waiting, _ = driven.suggest()
    driven.end(done)
    driven.lose(lost)
    before = [trial.user_attrs[OWNER]["seen"] for trial in driven.trials()]
    driven.searcher.stop(KeyboardInterrupt())
    assert driven.suggest() == FINISHED
    driven.end(running)  # too late: nothing is told any more
    driven.searcher.on_trial_complete(waiting)
    assert not driven.evaluate(running, 10, 1.0)
    driven.searcher.beat()
    assert [driven.trials()[i].user_attrs[OWNER]["seen"] > before[i] for i in range(4)] == [False, True, True, True]
    assert driven.searcher.release() == 3
    assert driven.states() == ["COMPLETE", "WAITING", "WAITING", "WAITING"]
    assert driven.progress.running == []
    assert driven.searcher.release() == 0


def test_what_was_put_back_runs_under_the_same_number_and_lr(tune: Any) -> None:
    driven = tune()
    driven.start()
    lr = driven.trials()[0].params["lr"]
    driven.searcher.release()
    again = Tune(driven.tasks)
    assert repr(again.start()[1]).endswith("/0")
    assert again.trials()[0].params["lr"] == lr


def test_of_several_errors_the_first_counts(tune: Any) -> None:
    driven = tune()
    first = KeyboardInterrupt()
    driven.searcher.stop(first)
    driven.searcher.stop(ValueError("later"))
    assert driven.searcher.stopped is first


def test_a_time_budget_ends_it_without_an_error(tune: Any) -> None:
    now = 0.0
    driven = tune(options={"deadline": 60.0, "clock": lambda: now})
    done, _ = driven.start()
    driven.start()
    now = 59.9
    driven.end(done)
    assert not driven.searcher.over()
    now = 60.0
    assert driven.suggest() == FINISHED
    assert driven.searcher.over()
    assert driven.searcher.out_of_time
    assert driven.searcher.stopped is None
    assert driven.searcher.release() == 1
    assert driven.states() == ["COMPLETE", "WAITING"]


def test_without_a_time_budget_it_is_not_over(tune: Any) -> None:
    driven = tune(options={"clock": lambda: 1e12})
    assert not driven.searcher.over()


def test_the_whole_comparisons_error_stops_it_and_is_no_trials_failure(tune: Any) -> None:
    driven = tune()
    trial, _ = driven.start()
    error = WorkloadError("The workload must be one that can be trained.")
    driven.searcher.on_trial_complete(trial, {RAISED: error, "done": True})
    assert driven.searcher.stopped is error
    assert driven.states() == ["WAITING"]


def broken(*_: Any, **__: Any) -> Any:
    raise StorageError("The storage is away.")


@pytest.mark.parametrize("where", ["ask", "begin", "report", "progress", "finish", "end", "work"])
def test_an_error_in_a_hook_stops_the_experiment_instead_of_escaping(
    tune: Any, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven = tune(pruner=Cuts())
    trial, _ = driven.start()
    broken_there = {
        "ask": (StudyTask, "ask"),
        "begin": (driven.progress, "begin"),
        "report": (Job, "report"),
        "progress": (driven.progress, "evaluated"),
        "finish": (Job, "finish"),
        "end": (driven.progress, "end"),
        "work": (driven.work, "ended"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*broken_there[where], broken)
        if where in ("ask", "begin"):
            second = driven.suggest()
            if where == "ask":
                assert second == FINISHED
            else:
                driven.searcher.started(second[0])
        elif where in ("report", "progress"):
            assert not driven.evaluate(trial, 10, 2.0)
        else:
            driven.end(trial)
    assert isinstance(driven.searcher.stopped, StorageError)
    assert driven.suggest() == FINISHED
    driven.searcher.release()
    assert "RUNNING" not in driven.states()


def test_hooks_for_trials_that_are_not_its_own_do_nothing(tune: Any) -> None:
    driven = tune()
    driven.searcher.started("another")
    assert not driven.evaluate("another", 10, 1.0)
    driven.end("another")
    driven.lose("another")
    assert driven.states() == []
    assert driven.searcher.stopped is None


def test_a_trial_that_another_process_ended_is_stopped_and_told_once(tune: Any) -> None:
    driven = tune(pruner=Cuts())
    trial, _ = driven.start()
    task = driven.tasks[0]
    task.study.tell(task.trials()[0].number, 7.0)
    assert driven.evaluate(trial, 10, 0.5)
    driven.end(trial)
    assert driven.trials()[0].value == 7.0
    assert driven.searcher.stopped is None
