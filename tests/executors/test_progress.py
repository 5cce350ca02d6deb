"""What is shown of trials: bars and a line a study on a terminal, now and then a line of the logger elsewhere."""

import re
from collections.abc import Callable
from typing import Any

import optuna
import pytest

import lr_search as lrs
from lr_search.curves.curve import LRCurve
from lr_search.executors.display.tally import steps_spared
from lr_search.executors.progress import Progress
from lr_search.storage.open import quiet_optuna
from lr_search.studies.job import Job
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation
from tests.helpers import sharing
from tests.helpers.terminal import Screen, screen
from tests.helpers.workloads import line

STEPS = 30  # of a training
ONE: dict[str, Any] = {"strategies": ["grid"], "schedules": ["constant"], "seeds": 1, "budget": 3}
FOUR_GPUS: dict[str, Any] = {"unit": "GPU", "total": 4, "per_trial": 0.5}


def studies(**changes: Any) -> list[StudyTask]:
    with quiet_optuna():
        return sharing.tasks(optuna.storages.InMemoryStorage(), **{**ONE, **changes})


def followed(tasks: list[StudyTask], trials: int, **changes: Any) -> Progress:
    progress = Progress(trials, trials * STEPS, name=sharing.NAME, **changes)
    progress.follow(tasks, **FOUR_GPUS)
    return progress


def begun(progress: Progress, task: StudyTask) -> Job:
    job = task.ask()
    assert job is not None
    progress.begin(job)
    return job


def evaluation(loss: float, step: int = STEPS) -> Evaluation:
    return Evaluation(step, 0.1, 1.0, {"loss": loss}, end_of_cycle=True)


def finished(loss: float) -> Outcome:
    return Outcome("finished", steps=STEPS, evaluations=[evaluation(loss)])


def cut(step: int = 10) -> Outcome:
    return Outcome("pruned", steps=step, evaluations=[evaluation(0.001, step)])


CURVE = LRCurve.from_arrays([0.01, 0.1, 1.0], [3.0, 2.0, 1.0])
FAILED = Outcome("failed", "oh", steps=10)
DIVERGED = Outcome("diverged", steps=20, evaluations=[evaluation(float("inf"), 20)])


def end(progress: Progress, job: Job, outcome: Outcome) -> None:
    job.finish(outcome)
    progress.end(job, outcome)


def counts(seen: list[str]) -> list[str]:
    """Trials and steps, done and planned, on the two bars."""
    return [re.search(r"\| *([\d.k]+/[\d.k]+)", each)[1] for each in seen[:2]]  # type: ignore[index]


def test_one_after_the_other_there_are_two_bars_and_the_studys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch, columns=110)
    progress = Progress(3, 3 * STEPS, name=sharing.NAME)
    (task,) = studies()
    for _ in range(2):
        job = begun(progress, task)
        progress.evaluated(job, 10)
        end(progress, job, finished(1.0))
    begun(progress, task)
    first, second = shown.seen()
    assert re.match(r"trials:  67%\|.*\| 2/3, grid/constant/SGD/seed 0$", first)
    assert re.match(r"steps : +\d+%\|.*step/s", second)
    progress.close()
    assert re.search(r"\[00:0\d, .*step/s, \d\d:\d\d left\]$", shown.seen()[1])
    assert counts(shown.seen()) == ["2/3", "60.0/90.0"]
    assert shown.row == 2


def test_a_comparisons_name_may_hold_slashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "NAME", "here/train.py:work")
    shown = screen(monkeypatch, columns=110)
    begun(Progress(3, 90, name=sharing.NAME), studies()[0])
    assert shown.seen()[0].endswith(", grid/constant/SGD/seed 0")


def test_each_study_under_way_has_a_line_until_it_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch)
    tasks = studies(strategies=["grid", "random"])
    progress = followed(tasks, 6)
    assert len(shown.seen()) == 2
    one, two, other = begun(progress, tasks[0]), begun(progress, tasks[0]), begun(progress, tasks[1])
    end(progress, one, finished(0.125))
    end(progress, two, finished(0.75))
    assert shown.seen()[0].endswith("| 2/6, 1 running, GPUs busy 0.5/4")
    assert shown.seen()[2:] == [
        "  grid/constant/SGD/seed 0     2/3, best 0.125",
        "  random/constant/SGD/seed 0   0/3, 1 running",
    ]
    end(progress, begun(progress, tasks[0]), FAILED)
    assert shown.seen()[0].endswith("| 3/6, 1 running, 1 failed, GPUs busy 0.5/4")
    assert shown.seen()[2:] == ["  random/constant/SGD/seed 0   0/3, 1 running"]
    end(progress, other, DIVERGED)
    assert shown.seen()[2:] == ["  random/constant/SGD/seed 0   1/3"]
    progress.close()
    assert counts(shown.seen()) == ["4/6", "90.0/150"]  # 20 and 10 steps are not needed any more
    assert shown.seen()[0].endswith("| 4/6, 1 failed")
    assert len(shown.seen()) == 2
    assert shown.row == 2


def test_the_best_of_what_is_maximized_is_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch)
    monkeypatch.setattr(sharing, "line", lambda: line(direction="maximize"))
    (task,) = studies()
    progress = followed([task], 3)
    for value in (0.25, 0.5):
        end(progress, begun(progress, task), finished(value))
    assert shown.seen()[2].endswith("2/3, best 0.5")


def test_what_was_pruned_leaves_room_for_more_trials_than_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch)
    (task,) = studies(pruner=optuna.pruners.NopPruner())
    progress = followed([task], 3)
    for _ in range(3):
        end(progress, begun(progress, task), cut())
    # 30 of 90 steps are spent
    assert shown.seen()[2].endswith("3/3, 3 pruned")
    last = begun(progress, task)
    assert shown.seen()[0].endswith("| 3/4, 1 running, 3 pruned, GPUs busy 0.5/4")
    assert shown.seen()[2].endswith("3/4, 1 running, 3 pruned")
    end(progress, last, finished(1.0))
    assert shown.seen()[2].endswith("4/4, best 1, 3 pruned")
    end(progress, begun(progress, task), finished(2.0))
    assert task.complete()
    assert len(shown.seen()) == 2
    progress.close()
    assert counts(shown.seen()) == ["5/5", "90.0/90.0"]


def test_steps_that_are_taken_again_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch)
    (task,) = studies()
    progress = followed([task], 3)
    lost, other = begun(progress, task), begun(progress, task)
    progress.evaluated(lost, 20)
    progress.evaluated(other, 10)
    progress.put_back(lost)
    assert "1 running, GPUs busy 0.5/4" in shown.seen()[0]
    lost.release()
    again = begun(progress, task)
    assert again.number == lost.number
    assert "2 running, GPUs busy 1/4" in shown.seen()[0]
    progress.begin(again)  # its worker was lost, and nobody said so
    assert "2 running, GPUs busy 1/4" in shown.seen()[0]
    progress.evaluated(again, 10)  # from its checkpoint on
    progress.close()
    assert counts(shown.seen()) == ["0/3", "30.0/90.0"]


@pytest.mark.parametrize("pruner", [None, optuna.pruners.NopPruner()])
def test_a_study_whose_last_trial_was_put_back_is_under_way(
    monkeypatch: pytest.MonkeyPatch, pruner: optuna.pruners.BasePruner | None
) -> None:
    shown = screen(monkeypatch)
    (task,) = studies(pruner=pruner)
    progress = followed([task], 3)
    lost, *others = [begun(progress, task) for _ in range(3)]
    progress.put_back(lost)
    for job in others:
        end(progress, job, finished(1.0))
    assert shown.seen()[2].endswith("2/3, best 1")
    end(progress, lost, Outcome("failed", "its worker was lost too often", steps=STEPS))
    assert shown.seen()[0].endswith("| 3/3, 0 running, 1 failed, GPUs busy 0/4")
    assert len(shown.seen()) == 2


def test_trials_of_an_earlier_call_are_counted_in_the_studys_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    (task,) = studies()
    before = task.ask()
    assert before is not None
    before.finish(finished(0.25))
    shown = screen(monkeypatch)
    progress = followed([task], 2)
    begun(progress, task)
    assert shown.seen()[0].endswith("| 0/2, 1 running, GPUs busy 0.5/4")
    assert shown.seen()[2].endswith("1/3, best 0.25, 1 running")


def test_range_tests_of_an_earlier_call_have_no_best(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = studies(strategies=["range_test"], range_test={"num_steps": 20, "curves": 2})
    before = first.ask()
    assert before is not None
    before.finish(Outcome("finished", steps=20, curve=CURVE))
    shown = screen(monkeypatch)
    begun(followed([first], 1), first)
    assert shown.seen()[2:] == ["  range test/SGD/seed 0   1/2, 1 running"]


def test_range_tests_have_no_best_and_those_that_fail_are_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch)
    first, _ = tasks = studies(strategies=["range_test"], range_test={"num_steps": 20, "curves": 1})
    progress = followed(tasks, 4)
    end(progress, begun(progress, first), FAILED)
    assert shown.seen()[2:] == ["  range test/SGD/seed 0            1/1"]
    again = begun(progress, first)
    assert shown.seen()[2:] == ["  range test/SGD/seed 0            1/2, 1 running"]
    end(progress, again, Outcome("finished", steps=20, curve=CURVE))
    assert len(shown.seen()) == 2


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (60, 10), (120, 5)])
def test_many_studies_fit_on_the_screen_and_those_that_run_are_seen(
    monkeypatch: pytest.MonkeyPatch, columns: int, rows: int
) -> None:
    shown = screen(monkeypatch, columns, rows)  # it fails where a line wraps or the screen scrolls
    tasks = studies(strategies=["grid", "random"], schedules=["constant", "triangular2", "sgdr"], seeds=5)
    assert len(tasks) == 30
    progress = followed(tasks, 90)
    for task in tasks[:-1]:
        end(progress, begun(progress, task), finished(0.0123456))
    last = begun(progress, tasks[-1])
    lines = shown.seen()
    room = rows - 4  # two bars, tqdm's own row, and the cursor's
    assert len(lines) == 2 + room
    assert lines[-1] == f"  ... and {30 - (room - 1)} more studies"
    if room > 1:
        assert lines[2].lstrip().startswith("grid/constant/SGD/seed 0")
        assert lines[-2].lstrip().startswith("random/sgdr/SGD/seed 4")
        assert lines[-2].endswith("0/3, 1 running")
    progress.put_back(last)
    progress.close()
    assert len(shown.seen()) == 2


def test_long_names_are_shortened_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch)
    (task,) = studies(schedules={"a_schedule_of_my_own_with_a_long_name": lrs.schedules.Constant})
    progress = followed([task], 3)
    begun(progress, task)
    assert shown.seen()[2] == "  grid/a_schedule_...name/SGD/seed 0   0/3, 1 running"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the logger was told since it was last asked."""

    def since() -> list[str]:
        lines = [record.getMessage() for record in caplog.records if record.name == "lr_search"]
        caplog.clear()
        return lines

    return since


def test_elsewhere_a_line_is_logged_for_each_complete_study_and_one_a_minute(told: Callable[[], list[str]]) -> None:
    clock = Clock()
    tasks = studies(strategies={"mine": 0.25, "random": "random"}, pruner=optuna.pruners.NopPruner())
    progress = followed(tasks, 4, clock=clock)
    end(progress, begun(progress, tasks[0]), finished(0.123456))
    assert told() == ["mine/constant/SGD/seed 0: 1 trial, best loss 0.1235 at LR 0.25"]
    one, two = begun(progress, tasks[1]), begun(progress, tasks[1])
    end(progress, one, cut())  # 40 of 120 steps at 0 s
    clock.now += 59
    progress.evaluated(two, 10)  # 50 at 59 s
    assert told() == []
    clock.now += 1  # 60 at 60 s: of late 20 steps in 60 s, so that the other 60 take 180 s
    progress.evaluated(two, 20)
    best = "best loss 0.1235 at LR 0.25 (mine/constant/SGD/seed 0)"
    pace = "2/4 trials, 60/120 steps (0.33 steps/s, 03:00 left)"
    assert told() == [f"{pace}, {best}, 1 running, 1 pruned, GPUs busy 0.5/4"]
    clock.now += 59
    end(progress, two, FAILED)
    end(progress, begun(progress, tasks[1]), DIVERGED)  # 80 at 119 s: of late 30 since 59 s
    assert told() == []
    clock.now += 1  # the next minute: 40 steps take 80 s, of which one has passed
    last = begun(progress, tasks[1])
    pace = "4/5 trials, 80/120 steps (0.50 steps/s, 01:19 left)"
    assert told() == [f"{pace}, {best}, 1 running, 1 pruned, 1 failed, GPUs busy 0.5/4"]
    end(progress, last, finished(2.0))
    lr = f"{tasks[1].trials()[3].params['lr']:.3g}"
    result = f"random/constant/SGD/seed 0: 4 trials, 1 diverged, 1 pruned, 1 failed, best loss 2 at LR {lr}"
    assert told() == [result]
    progress.close()
    assert told() == []


def test_one_after_the_other_lines_are_logged_too(told: Callable[[], list[str]]) -> None:
    clock = Clock()
    (task,) = studies()
    progress = Progress(3, 3 * STEPS, name=sharing.NAME, clock=clock)
    for loss in (0.5, 0.25, 0.75):
        job = begun(progress, task)
        clock.now += 40
        end(progress, job, finished(loss))
    lr = f"{task.trials()[1].params['lr']:.3g}"
    assert told() == [
        # 60 steps in 80 s, and 30 to go
        f"2/3 trials, 60/90 steps (0.75 steps/s, 00:40 left), best loss 0.25 at LR {lr} (grid/constant/SGD/seed 0), 0 running",
        f"grid/constant/SGD/seed 0: 3 trials, best loss 0.25 at LR {lr}",
    ]


def test_what_is_left_may_be_planned_anew(told: Callable[[], list[str]]) -> None:
    clock = Clock()
    (task,) = studies()
    progress = Progress(50, 5000, name=sharing.NAME, clock=clock)
    job = begun(progress, task)
    clock.now += 30
    end(progress, job, finished(0.5))
    progress.plan(2, 2 * STEPS)
    assert progress.seconds_left == 60
    clock.now += 31
    begun(progress, task)
    assert told()[0].startswith("1/3 trials, 30/90 steps (1.00 steps/s, 00:29 left), ")


def test_steps_that_are_not_needed_any_more_are_spared() -> None:
    (searched,) = studies(pruner=optuna.pruners.NopPruner())
    (plain,) = studies(strategies=["grid"])
    first, _ = studies(strategies=["range_test"], range_test={"num_steps": 20, "curves": 1})
    spared = {
        name: steps_spared(task.ask(), outcome)  # type: ignore[arg-type]
        for name, task, outcome in [
            ("diverged", plain, DIVERGED),
            ("pruned", searched, cut()),
            ("finished", plain, finished(1.0)),
            ("a range test cut short", first, Outcome("finished", steps=9, curve=CURVE)),
        ]
    }
    # a range test of 20 steps is charged 20 + 21 / 3
    assert spared == {"diverged": 10, "pruned": 0, "finished": 0, "a range test cut short": 18}
    first, _ = studies(strategies=["range_test"], range_test={"num_steps": 20, "curves": 1})
    assert steps_spared(first.ask(), FAILED) == 0  # type: ignore[arg-type]  # it is run again


@pytest.mark.parametrize(
    ("strategy", "cuts", "taken"),
    [("random", [20, 20, STEPS], 70), ({"mine": 0.25}, [10], 10)],  # 20 of 90 are too few for another; one is all
    ids=["too few are left", "one trial"],
)
def test_what_a_pruner_leaves_at_a_studys_end_is_spared(
    monkeypatch: pytest.MonkeyPatch, strategy: Any, cuts: list[int], taken: int
) -> None:
    shown = screen(monkeypatch)
    strategies = strategy if isinstance(strategy, dict) else [strategy]
    (task,) = studies(strategies=strategies, pruner=optuna.pruners.NopPruner())
    progress = Progress(len(cuts), len(cuts) * STEPS, name=sharing.NAME)
    for step in cuts:
        end(progress, begun(progress, task), cut(step) if step < STEPS else finished(1.0))
    progress.close()
    assert counts(shown.seen())[1] == f"{taken:.1f}/{taken:.1f}"


@pytest.mark.parametrize("clear", [True, False], ids=["a terminal", "elsewhere"])
def test_nothing_is_said_where_nothing_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], told: Callable[[], list[str]], clear: bool
) -> None:
    shown = screen(monkeypatch) if clear else None
    lrs.compare(line(), **ONE, lr_range=(1e-3, 0.5), storage=None, progress=False)
    assert told() == []
    assert capsys.readouterr() == ("", "")
    assert shown is None or shown.writes == 0


def test_side_by_side_nothing_is_printed_where_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch)
    (task,) = studies()
    progress = followed([task], 3, shown=False)
    for _ in range(3):
        end(progress, begun(progress, task), finished(1.0))
    progress.close()
    assert shown.writes == 0


def test_a_studys_storage_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    screen(monkeypatch)
    (task,) = studies(budget=50, strategies=["random"])
    progress = followed([task], 50)
    jobs = [job for _ in range(50) if (job := task.ask()) is not None]
    read: list[int] = []
    trials = task.trials
    monkeypatch.setattr(task, "trials", lambda: read.append(1) or trials())
    for job in jobs:
        progress.begin(job)
        progress.evaluated(job, 10)
        progress.end(job, finished(1.0))
    assert len(jobs) == 50
    assert len(read) == 1


def test_lines_that_have_not_changed_are_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tqdm.std.time", lambda: 0.0
    )  # or a bar would be drawn again where a tenth of a second has passed

    def writes(count: int, shown: Screen) -> int:
        tasks = studies(seeds=count)
        progress = followed(tasks, 3 * count)
        for task in tasks:
            end(progress, begun(progress, task), finished(1.0))
        before = shown.writes
        end(progress, begun(progress, tasks[0]), finished(1.0))
        after = shown.writes
        progress.close()
        return after - before

    assert writes(18, screen(monkeypatch)) == writes(3, screen(monkeypatch))
