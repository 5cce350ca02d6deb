"""Where the library's words go: by `logging`, and to standard error where nobody has set that up."""

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

import lr_search as lrs
from lr_search.executors.display.logger import LOGGER
from tests.helpers.workloads import line


@pytest.fixture(autouse=True)
def above(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The logger above the library's: pytest has handlers at the real one."""
    made = logging.Logger("above")
    monkeypatch.setattr(LOGGER, "parent", made)
    monkeypatch.setattr(LOGGER, "handlers", list(LOGGER.handlers))
    level = LOGGER.level
    yield made
    LOGGER.setLevel(level)


class Kept(logging.Handler):
    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def test_where_logging_is_not_set_up_it_is_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    LOGGER.info("a plan: 100% of it")
    assert capsys.readouterr() == ("", "a plan: 100% of it\n")


@pytest.mark.parametrize("where", ["above", "own"])
def test_a_handler_of_the_users_has_it_alone(
    above: logging.Logger, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Kept()
    (above if where == "above" else LOGGER).addHandler(kept)
    LOGGER.info("a plan")
    assert kept.said == ["a plan"]
    assert capsys.readouterr() == ("", "")


def test_a_handler_of_errors_alone_does_not_hide_it(above: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Kept(logging.ERROR)
    above.addHandler(kept)
    LOGGER.info("a plan")
    assert (kept.said, capsys.readouterr().err) == ([], "a plan\n")


def test_its_level_is_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    LOGGER.setLevel(logging.WARNING)
    LOGGER.info("a plan")
    LOGGER.warning("the time is over")
    assert capsys.readouterr().err == "the time is over\n"


def test_a_comparison_says_its_plan_and_its_studies(capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"strategies": {"mine": 0.1}, "schedules": ["constant"], "seeds": 1, "budget": 1, "storage": None}
    lrs.compare(line(), **settings)
    out, err = capsys.readouterr()
    plan, cost, study = err.splitlines()  # and no range, since none is searched
    assert out == ""
    assert plan.startswith("comparison: 1 study (")
    assert cost.startswith("at most 1 trial and 30 steps in all: about 1 s at the pace of the first steps on one cpu")
    assert study.startswith("mine/constant/SGD/seed 0: 1 trial, best loss ")
    lrs.compare(line(), **settings, dry_run=True, progress=False)  # asked for
    assert capsys.readouterr().out.splitlines()[0] == plan


@pytest.mark.long
def test_a_level_set_before_the_import_is_kept() -> None:
    code = """
import logging
logging.getLogger("lr_search").setLevel(40)
from lr_search.executors.display.logger import LOGGER
print(LOGGER.level)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "40\n"
