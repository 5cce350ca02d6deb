"""What an executor of the user's own inherits, and what is refused where an executor is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch

import lr_search as lrs
from lr_search import plugins
from lr_search.errors import InvalidInputError, UnknownNameError
from lr_search.executors import Executor
from lr_search.executors.executor_names import executor_by_name
from lr_search.executors.progress import Progress
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import TrialSpec
from tests.helpers.workloads import line


@dataclass(frozen=True)
class Plain(Executor):
    """Says how to run, and nothing else."""

    parallel_per_study: int = 1

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        lrs.LocalExecutor(parallel_per_study=self.parallel_per_study).run(tasks, progress)


class Untold:
    """Has the method, and does not inherit."""

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        raise AssertionError("it must not run")


def a_function_that_makes_one(width: int = 1) -> Executor:
    return Plain(parallel_per_study=width)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Registers what stands in this module, under the name `mine`."""

    def point(name: str) -> None:
        found = {"mine": EntryPoint("mine", f"{__name__}:{name}", plugins.EXECUTORS)}
        monkeypatch.setattr(plugins, "registered", lambda group: found)

    return point


def compare(executor: Any) -> lrs.Comparison:
    settings: dict[str, Any] = {"strategies": ["grid"], "schedules": ["constant"], "seeds": 1, "budget": 2}
    return lrs.compare(line(), executor=executor, storage=None, progress=False, **settings)


def test_run_must_be_defined() -> None:
    with pytest.raises(TypeError, match=r"abstract method '?run"):
        Executor()  # type: ignore[abstract]


def test_one_that_says_how_to_run_has_all_that_a_comparison_needs() -> None:
    ours, theirs = compare(Plain()), compare(lrs.LocalExecutor())
    assert ours.trials["objective"].to_list() == theirs.trials["objective"].to_list()
    assert set(ours.trials["state"]) == {"COMPLETE"}


def test_its_session_yields_itself() -> None:
    executor = Plain()
    with executor.session({"sgd": line()}) as running:
        assert running is executor


def test_it_trains_in_this_process_by_default() -> None:
    workload = line()
    schedule = lrs.schedules.Constant(0.05)
    training = Plain().train(workload, TrialSpec(3, schedule=schedule))
    alone = lrs.train(workload, schedule, seed=3)
    for _ in alone:
        pass
    assert (training.stopped, training.step) == ("finished", workload.num_steps)
    pairs = zip(training.model.parameters(), alone.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("other", [Untold(), Untold, "local", 3])
def test_what_does_not_inherit_is_refused_with_the_remedy(other: Any) -> None:
    rule = (
        r"executor must be an lr_search.Executor or None, but got .*(inherits lr_search.executors|pass an object of it)"
    )
    with pytest.raises(InvalidInputError, match=rule):
        compare(other)


def test_a_class_that_is_registered_gets_its_arguments(register: Any) -> None:
    register("Plain")
    assert executor_by_name("mine", {"parallel_per_study": 2}) == Plain(2)


def test_so_does_a_function_that_makes_one(register: Any) -> None:
    register("a_function_that_makes_one")
    assert executor_by_name("mine", {"width": 3}, {"verbose": True}) == Plain(3)
    with pytest.raises(UnknownNameError, match=r"option of the executor 'mine' must be one.*'widht'.*'width'"):
        executor_by_name("mine", {"widht": 3})


def test_what_is_registered_and_does_not_inherit_is_refused(register: Any) -> None:
    register("Untold")
    with pytest.raises(InvalidInputError, match=r"The executor 'mine' must be one, but got .*Inherit lr_search.exec"):
        executor_by_name("mine")
