"""The tests' own rules: what is left out unasked, and where the others run."""

import os
import tomllib
from pathlib import Path

import pytest

from tests.helpers.imports import ROOT
from tests.helpers.marks import MARKS, needs_of, usually, wanted

SETTINGS = tomllib.loads(Path(ROOT, "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
(EXPRESSION,) = (option[3:] for option in SETTINGS["addopts"] if option.startswith("-m "))


def test_every_mark_is_declared_and_left_out_by_default():
    declared = {line.partition(":")[0] for line in SETTINGS["markers"]}
    assert declared - {"gpu"} == set(MARKS)
    assert all(not wanted(EXPRESSION, {mark}) for mark in MARKS)
    assert wanted(EXPRESSION, set())


def test_files_that_need_what_is_not_asked_for_are_not_read(pytestconfig):
    files = sorted(Path(ROOT, "tests").rglob("test_*.py"))
    needs = {path.name: needs_of(path) for path in files}
    assert needs["test_ray_executor.py"] == {"ray"}
    assert needs["test_marks.py"] == set()
    for folder in ("system/ray", "lr_search_ray", "system/browser", "system/processes", "system/postgresql"):
        mark = Path(folder.removeprefix("lr_search_")).name
        lacking = [path.name for path in Path(ROOT, "tests", folder).glob("test_*.py") if mark not in needs_of(path)]
        assert [name for name in lacking if not name.startswith("test_one_")] == []  # the few that always run


@pytest.mark.parametrize(
    ("expression", "marks", "expected"),
    [
        ("", {"ray"}, True),
        ("ray", {"ray"}, True),
        ("ray and long", {"ray"}, True),  # some of the file may be
        ("not ray", {"ray"}, False),
        ("long and not ray", {"ray", "long"}, False),
        ("browser", {"ray"}, True),
        ("browser and not browser", {"ray"}, False),
    ],
)
def test_an_expression_is_judged_for_all_that_a_file_may_hold(expression, marks, expected):
    assert wanted(expression, marks) is expected


def test_a_few_cases_run_always_and_the_others_with_every_test():
    cases = usually([2, "b"], [1, 2, pytest.param(3, id="b"), pytest.param(4, marks=pytest.mark.ray)])
    assert [case.values for case in cases] == [(1,), (2,), (3,), (4,)]
    assert [[mark.name for mark in case.marks] for case in cases] == [["long"], [], [], ["ray", "long"]]
    with pytest.raises(AssertionError, match="no case is called \\['c'\\]"):
        usually(["c"], [1])


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="of tests side by side: pytest -n auto")
def test_side_by_side_the_tests_of_a_file_stay_together(request):
    assert request.node.nodeid.endswith("@tests/test_marks.py")
