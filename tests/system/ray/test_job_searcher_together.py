"""The searcher of a comparison's trials, where workers train several of them together."""

from typing import Any

import pytest

from lr_search.storage.keys import RECORD
from lr_search.studies.trial import Outcome
from lr_search_ray.jobs.messages import APART, CHARGED, EVALUATION, HALVED, OUTCOME, TOGETHER, Assignment
from tests.helpers.driven import FINISHED, Cuts, Tune, evaluation, searching

pytestmark = pytest.mark.ray

ONE = {"budget": 6}


def fused(width: int = 4, workers: int = 1, **changes: Any) -> Tune:
    """A grid of 6 by default; Tune holds two trials for each worker."""
    return searching(2 * workers, {"fused_width": width, "workers": lambda: workers}, **{**ONE, **changes})


def numbers(assignment: Assignment) -> int:
    return len(assignment.trials)


def told(step: int, loss: float, *, over: bool = False) -> dict[str, Any]:
    result = {CHARGED: step, "step": step, "seconds": 0.1 * step, EVALUATION: evaluation(step, loss)}
    return result | ({OUTCOME: Outcome("finished", steps=step), "over": True} if over else {})


def hear(driven: Tune, trial: str, parts: dict[int, dict[str, Any]]) -> bool:
    return driven.searcher.heard(trial, {TOGETHER: list(parts.items()), "done": False})


def end(driven: Tune, trial: str, parts: dict[int, dict[str, Any]], **more: Any) -> None:
    driven.searcher.on_trial_complete(trial, {TOGETHER: list(parts.items()), "done": True, **more})


class Worker:
    """A worker's handle, that notes what it was told to cut."""

    def __init__(self) -> None:
        self.told: list[list[int]] = []

    @property
    def cut(self) -> Any:
        return self

    def remote(self, indexes: list[int]) -> None:
        self.told.append(indexes)


class TuneTrial:
    def __init__(self, trial_id: str) -> None:
        self.trial_id, self.worker = trial_id, Worker()

    @property
    def temporary_state(self) -> Any:
        return self

    @property
    def ray_actor(self) -> Worker:
        return self.worker


def test_a_worker_gets_as_many_as_the_width() -> None:
    driven = fused()
    sizes = [numbers(driven.start()[1]) for _ in range(2)]
    assert sizes == [4, 2]
    assert len(driven.progress.running) == 6
    assert driven.suggest() is None


def test_several_workers_share_what_there_is() -> None:
    driven = fused(workers=3)
    assert [numbers(driven.start()[1]) for _ in range(3)] == [2, 2, 2]


def test_of_several_seeds_only_one_goes_together() -> None:
    driven = fused(seeds=2, budget=2, width=8)
    for seed in (0, 1):
        trial, assignment = driven.start()
        assert numbers(assignment) == 2
        assert f"seed {seed}" in repr(assignment)
        end(driven, trial, {index: told(30, 1.0, over=True) for index in range(2)})
    assert driven.suggest() == FINISHED


def test_each_ends_by_itself_and_its_study_is_told() -> None:
    driven = fused(budget=3)
    trial, _ = driven.start()
    hear(driven, trial, {index: told(0, 2.0) for index in range(3)})
    assert not hear(driven, trial, {1: told(20, 1.5, over=True)})
    assert driven.states() == ["RUNNING", "COMPLETE", "RUNNING"]
    end(driven, trial, {0: told(30, 1.0, over=True), 2: told(30, 3.0, over=True)})
    assert [t.value for t in driven.trials()] == [1.0, 1.5, 3.0]
    assert driven.trials()[1].user_attrs[RECORD]["evaluations"]["step"] == [0, 20]
    assert driven.suggest() == FINISHED
    assert driven.progress.running == []


def test_what_the_pruner_cuts_is_told_to_the_worker_and_the_others_go_on() -> None:
    driven = fused(budget=3, pruner=Cuts())
    trial, _ = driven.start()
    hear(driven, trial, {0: told(20, 0.5), 1: told(20, 5.0), 2: told(20, 7.0)})
    handle = TuneTrial(trial)
    driven.searcher.answered(handle)  # type: ignore[arg-type]
    driven.searcher.answered(handle)  # type: ignore[arg-type]
    assert handle.worker.told == [[1, 2]]
    assert driven.states()[:3] == ["RUNNING", "PRUNED", "PRUNED"]
    assert driven.trials()[1].user_attrs[RECORD]["steps"] == 20
    end(driven, trial, {0: told(30, 0.4, over=True)})
    assert driven.trials()[0].state.name == "COMPLETE"


def test_a_lost_worker_costs_what_it_had_and_they_begin_again_together() -> None:
    driven = fused(budget=3)
    trial, _ = driven.start()
    hear(driven, trial, {0: told(30, 1.0, over=True)})
    driven.lose(trial)
    assert driven.states() == ["COMPLETE", "RUNNING", "RUNNING"]
    trial, assignment = driven.start()
    assert numbers(assignment) == 2
    end(driven, trial, {0: told(30, 2.0, over=True), 1: told(30, 3.0, over=True)})
    assert [t.value for t in driven.trials()] == [1.0, 2.0, 3.0]


def test_lost_too_often_they_have_failed() -> None:
    driven = fused(budget=2)
    for _ in range(3):
        trial, assignment = driven.start()
        assert numbers(assignment) == 2
        driven.lose(trial)
    assert driven.states() == ["FAIL", "FAIL"]
    assert driven.trials()[0].user_attrs[RECORD]["reason"].endswith("(3 times)")


def test_without_memory_they_begin_again_in_halves() -> None:
    driven = fused()
    trial, assignment = driven.start()
    assert numbers(assignment) == 4
    end(driven, trial, {}, **{HALVED: ""})
    assert driven.progress.running == []
    sizes = []
    while isinstance(got := driven.suggest(), tuple):
        driven.searcher.started(got[0])
        sizes.append(numbers(got[1]))
        end(driven, got[0], {index: told(30, 1.0, over=True) for index in range(sizes[-1])})
    assert sizes == [2, 2, 2]  # and no more than two from then on
    assert driven.states() == ["COMPLETE"] * 6


def test_what_cannot_be_trained_together_is_trained_apart_with_a_warning() -> None:
    driven = fused(budget=3)
    trial, _ = driven.start()
    with pytest.warns(UserWarning, match="fused_width needs a purer loss. These trials run one by one"):
        end(driven, trial, {}, **{APART: "a purer loss"})
    for _ in range(3):
        got, assignment = driven.start()
        assert numbers(assignment) == 1
        driven.end(got)
    assert driven.states() == ["COMPLETE"] * 3


def test_one_that_raised_in_the_others_midst_is_trained_apart_without_one() -> None:
    driven = fused(budget=2)
    trial, _ = driven.start()
    end(driven, trial, {0: told(30, 1.0, over=True)}, **{APART: ""})
    got, assignment = driven.start()
    assert (numbers(assignment), driven.states()) == (1, ["COMPLETE", "RUNNING"])
    driven.fail(got, "ValueError: no")
    driven.fail(driven.start()[0], "ValueError: no")  # in the same words: no matter of luck
    assert driven.states() == ["COMPLETE", "FAIL"]


def test_all_are_put_back_at_the_end() -> None:
    driven = fused()
    trial, _ = driven.start()
    hear(driven, trial, {0: told(30, 1.0, over=True)})
    driven.start()
    assert driven.searcher.release() == 5
    assert sorted(driven.states()) == ["COMPLETE", *["WAITING"] * 5]
    assert driven.progress.running == []
