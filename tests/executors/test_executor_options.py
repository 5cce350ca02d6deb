"""--executor and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lr_search as lrs
from lr_search.cli import arguments
from lr_search.errors import InvalidInputError, UnknownNameError
from lr_search.executors.executor_names import executor_by_name
from lr_search.workloads import target


def test_options_are_numbers_words_and_switches() -> None:
    text = "gpu=0.5, max-failures=1,address=auto,verbose=true,storage_path=none,factory=a.b:c"
    assert arguments.options(text) == {
        "gpu": 0.5, "max_failures": 1, "address": "auto", "verbose": True, "storage_path": None, "factory": "a.b:c",
    }  # fmt: skip
    assert arguments.options("") == {}


@pytest.mark.parametrize("text", ["gpu", "=1", "gpu=1,gpu=2"])
def test_what_is_no_option_is_told(text: str) -> None:
    with pytest.raises(
        InvalidInputError, match=r"--executor-options must be NAME=VALUE,... with each name once, but got"
    ):
        arguments.options(text)


def test_options_reach_the_executor() -> None:
    assert executor_by_name("local", {"parallel_per_study": 2}) == lrs.LocalExecutor(parallel_per_study=2)
    found: Any = executor_by_name("ray", {"gpu": 0.5, "max_failures": 1, "working_dir": "."})
    assert found.resources_per_trial == {"cpu": 1.0, "gpu": 0.5}
    assert (found.max_failures, found.runtime_env) == (1, {"working_dir": "."})


def test_what_is_offered_is_taken_where_there_is_such_an_argument() -> None:
    offered = {"verbose": True, "factory": "pkg.mod:make"}
    found: Any = executor_by_name("ray", {"factory": "other.mod:make"}, offered)
    assert (found.verbose, found.factory) == (True, "other.mod:make")
    assert executor_by_name("local", {}, offered) == lrs.LocalExecutor()


def test_an_unknown_option_is_told_with_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"option of the executor 'ray' must be one.*'max_failure'.*'max_failures'"
    ):
        executor_by_name("ray", {"max_failure": 1})
    with pytest.raises(InvalidInputError, match="parallel_per_study must be at least 1"):
        executor_by_name("local", {"parallel_per_study": 0})


def test_a_target_that_makes_the_workload_is_a_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(tmp_path, "lr_search_target.py").write_text(
        "from tests.helpers.workloads import line\nready = line()\n\ndef make():\n    return line()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert target.factory_of("lr_search_target:make") == "lr_search_target:make"
    assert target.factory_of("lr_search_target:ready") is None
