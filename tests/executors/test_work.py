"""What is left to do in several studies: in which order, how much at once, and who is asked again when."""

from typing import Any

import pytest
from optuna.storages import InMemoryStorage

from lr_search.curves.curve import LRCurve
from lr_search.executors.work import POLL_SECONDS, Work
from lr_search.storage import ownership
from lr_search.studies.job import Job
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation
from tests.helpers import sharing

CURVE = LRCurve.from_arrays([10 ** (i / 4 - 4) for i in range(20)], [abs(i - 15) / 10 + 0.5 for i in range(20)])
RANGE_TESTS = {"seeds": 1, "range_test": {"num_steps": 20, "curves": 2}}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage() -> InMemoryStorage:
    return InMemoryStorage()


@pytest.fixture
def work(storage: InMemoryStorage, clock: Clock) -> Any:
    """Makes what is left of a comparison; another call makes what another process sees of the same."""

    def make(*, parallel_per_study: int = 1, **changes: Any) -> Work:
        tasks = sharing.tasks(storage, **{"seeds": 1, "schedules": ["constant"], **changes})
        return Work(tasks, parallel_per_study=parallel_per_study, clock=clock)

    return make


def asked(work: Work) -> list[Job]:
    """All that may run at present."""
    return list(iter(work.next, None))


def names(jobs: list[Job]) -> list[str]:
    """Strategy and schedule, or what comes first, and the number of each."""
    found = [(job.task.plan, job.number) for job in jobs]
    return [f"{p.kind} {n}" if p.strategy is None else f"{p.strategy.name} {p.schedule} {n}" for p, n in found]


def finish(job: Job, work: Work | None = None) -> None:
    """As a worker does, with made-up results."""
    if job.spec.range_test is not None:
        job.finish(Outcome("finished", steps=CURVE.steps_charged, curve=CURVE))
    else:
        last = Evaluation(step=30, lr=job.lr or 0.1, train_loss=1.0, metrics={"loss": 1.0}, end_of_cycle=True)
        job.finish(Outcome("finished", steps=30, evaluations=[last]))
    if work is not None:
        work.ended(job)


def lose_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, all other processes are taken for dead."""
    monkeypatch.setattr(ownership, "is_alive", lambda owner, started, now: False)


def test_range_tests_come_first_then_chains_of_trials_and_the_others_fill_the_gaps(work: Any) -> None:
    left = work(strategies=["grid", "tpe", "range_test"], budget=3, **RANGE_TESTS)
    assert names(asked(left)) == [
        "range_test 0",
        "range_test 1",
        "tpe constant 0",
        "grid constant 0",
        "grid constant 1",
        "grid constant 2",
    ]


def test_among_equals_the_study_that_has_come_least_far_is_next(work: Any) -> None:
    left = work(strategies=["grid", "random"], schedules=["constant", "sgdr"], budget=2)
    studies = ["grid constant", "grid sgdr", "random constant", "random sgdr"]
    assert sorted(names(asked(left)[:4])) == [f"{study} 0" for study in studies]
    left = work(strategies=["tpe"], schedules=["constant", "sgdr"], budget=2)
    ran = []
    while (job := left.next()) is not None:  # one worker
        ran += names([job])
        finish(job, left)
    assert ran == ["tpe constant 0", "tpe sgdr 0", "tpe constant 1", "tpe sgdr 1"]


def test_a_study_whose_points_depend_on_results_runs_one_trial_at_a_time(work: Any) -> None:
    left = work(strategies=["tpe"], budget=3)
    for number in range(3):
        (job,) = asked(left)
        assert job.number == number
        assert not left.over()
        finish(job, left)
    assert asked(left) == []
    assert left.over()


@pytest.mark.parametrize("parallel", [2, 3])
def test_or_as_many_as_the_user_says(work: Any, parallel: int) -> None:
    left = work(strategies=["tpe"], budget=5, parallel_per_study=parallel)
    first, *others = asked(left)
    assert len(others) == parallel - 1
    finish(first, left)
    (again,) = asked(left)
    assert again.number == parallel


def test_the_first_points_of_a_prior_run_at_once_when_the_range_tests_have_ended(work: Any) -> None:
    left = work(strategies=["range_test"], budget=8, **RANGE_TESTS)
    first, second = asked(left)
    finish(first, left)
    assert asked(left) == []
    finish(second, left)
    jobs = asked(left)
    assert names(jobs) == [f"range_test constant {number}" for number in range(3)]
    for job in jobs[:2]:
        finish(job, left)
        assert asked(left) == []  # the next point depends on all three
    finish(jobs[2], left)
    (fourth,) = asked(left)
    finish(fourth, left)
    assert names(asked(left)) == ["range_test constant 4"]


def test_all_of_a_grid_runs_at_once(work: Any) -> None:
    left = work(strategies=["grid"], budget=6)
    jobs = asked(left)
    assert len(jobs) == 6
    for job in jobs:
        assert not left.over()
        finish(job, left)
    assert left.next() is None
    assert left.over()


def test_a_range_test_in_the_place_of_one_that_failed_is_next(work: Any) -> None:
    left = work(strategies=["grid", "range_test"], budget=5, **RANGE_TESTS)
    jobs = [left.next(), left.next()]
    jobs[0].finish(Outcome("failed", reason="out of memory"))
    left.ended(jobs[0])
    third = left.next()
    assert names([third]) == ["range_test 2"]
    finish(jobs[1], left)
    assert "grid constant" in names([left.next()])[0]
    finish(third, left)
    assert names([left.next()]) == ["range_test constant 0"]


def test_what_was_put_back_is_next_of_its_study(work: Any) -> None:
    left = work(strategies=["tpe"], budget=2)
    (job,) = asked(left)
    lr = job.lr
    job.release()
    left.ended(job)
    (again,) = asked(left)
    assert (again.number, again.lr) == (0, lr)


def test_what_another_process_has_finished_is_seen_at_the_next_look(work: Any, clock: Clock) -> None:
    mine, other = work(strategies=["tpe"], budget=2), work(strategies=["tpe"], budget=2)
    (theirs,) = asked(other)
    assert asked(mine) == []
    assert asked(mine) == []  # the study's first look; the next is due in half a second
    finish(theirs, other)
    assert asked(mine) == []
    clock.now += 1.01 * POLL_SECONDS
    (job,) = asked(mine)
    assert job.number == 1
    finish(job, mine)
    assert asked(mine) == []
    assert mine.over()
    assert not other.over()  # it has not looked
    clock.now += 1.01 * POLL_SECONDS
    assert asked(other) == []
    assert other.over()


def test_a_study_that_waits_begins_when_another_process_has_ended_the_range_tests(work: Any, clock: Clock) -> None:
    changes = {"strategies": ["range_test"], "budget": 8, **RANGE_TESTS}
    mine, other = work(**changes), work(**changes)
    theirs = asked(other)
    assert names(theirs) == ["range_test 0", "range_test 1"]
    assert asked(mine) == []
    assert asked(mine) == []
    for job in theirs:
        finish(job, other)
    clock.now += 1.01 * POLL_SECONDS
    assert names(asked(mine)) == [f"range_test constant {number}" for number in range(3)]


def test_what_another_process_has_lost_is_run_here(work: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = work(strategies=["grid"], budget=2), work(strategies=["grid"], budget=2)
    theirs = asked(other)
    assert len(theirs) == 2
    assert asked(mine) == []
    assert asked(mine) == []
    assert not mine.over()
    lose_all(monkeypatch)
    clock.now += 1.01 * POLL_SECONDS
    assert [(job.number, job.lr) for job in asked(mine)] == [(job.number, job.lr) for job in theirs]


def test_what_a_dead_process_left_is_taken_at_once(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = asked(work(strategies=["tpe"], budget=2))
    lose_all(monkeypatch)
    assert [job.number for job in asked(work(strategies=["tpe"], budget=2))] == [theirs[0].number]


def test_looks_at_a_slow_storage_are_far_apart(
    work: Any, clock: Clock, storage: InMemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where reading takes 2 s, looks begin 40 s apart at least: a twentieth of the time goes into reading."""
    mine, other = work(strategies=["tpe"], budget=2), work(strategies=["tpe"], budget=2)
    (theirs,) = asked(other)
    assert asked(mine) == []
    read = storage.get_all_trials

    def slowly(*arguments: Any, **options: Any) -> Any:
        clock.now += 2
        return read(*arguments, **options)

    monkeypatch.setattr(storage, "get_all_trials", slowly)
    begun = clock.now
    assert asked(mine) == []
    assert clock.now > begun  # it has looked
    monkeypatch.undo()
    finish(theirs, other)
    clock.now = begun + 40
    assert asked(mine) == []
    clock.now = begun + 80
    assert [job.number for job in asked(mine)] == [1]


def test_no_work_is_over() -> None:
    left = Work([])
    assert left.next() is None
    assert left.over()


def test_a_comparison_whose_trials_have_all_ended_is_over_at_the_first_look(work: Any) -> None:
    first = work(strategies=["grid", "range_test"], budget=4, **RANGE_TESTS)
    while jobs := asked(first):
        for job in jobs:
            finish(job, first)
    assert first.over()
    again = work(strategies=["grid", "range_test"], budget=4, **RANGE_TESTS)
    assert again.next() is None
    assert again.over()
