"""Executors that break their contract fail it, with a message that has the rule, what came, and what to do."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from lr_search.executors import Executor, LocalExecutor
from lr_search.executors.progress import Progress
from lr_search.studies.study import StudyTask
from lr_search.testing import ExecutorContract
from lr_search.testing.small_comparisons import following
from tests.helpers.contract_failures import fails

# --- executors


class Losing(LocalExecutor):
    """Forgets the last study."""

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        super().run(tasks[:-1], progress)


class Leaving(LocalExecutor):
    """Goes away with a trial that it has taken."""

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        tasks[0].ask()


class Silent(LocalExecutor):
    """Tells nothing of its trials."""

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        super().run(tasks, Progress(0, 0, shown=False))


def broken(kind: type[Executor]) -> ExecutorContract:
    class Broken(ExecutorContract):
        def executor(self) -> Executor:
            return kind()

    return Broken()


def test_an_executor_that_loses_a_trial_fails() -> None:
    test = broken(Losing).test_divergence_is_a_complete_trial_and_leaves_its_neighbours_alone
    fails(r"must find what LocalExecutor finds.*trials has 3 rows where 4 are wanted", test)


def test_an_executor_that_leaves_a_trial_running_fails() -> None:
    test = broken(Leaving).test_divergence_is_a_complete_trial_and_leaves_its_neighbours_alone
    fails(r"must return when all trials have ended, but got states=\{'RUNNING': 1\}\. Call job\.finish", test)


def test_an_executor_that_tells_nothing_fails() -> None:
    with following() as followed:
        test = broken(Silent).test_progress_is_told_of_every_trial
        fails(r"progress must be told of every trial, but got begun=\[\].*Call progress\.begin", test, followed)


# --- the package


@pytest.mark.long
def test_importing_the_contracts_needs_pytest_and_loads_nothing_that_draws() -> None:
    code = (
        "import sys\n"
        "sys.modules['pytest'] = None\n"
        "try:\n"
        "    import lr_search.testing\n"
        "except ImportError as error:\n"
        "    print(type(error).__name__, error)\n"
        "del sys.modules['pytest']\n"
        "from lr_search.testing import ScheduleContract\n"
        "print(*({'ray', 'matplotlib', 'jinja2'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "MissingPackageError lr_search.testing needs pytest: pip install pytest\n\n"


def test_an_executor_that_is_not_said_is_an_error_that_says_what_to_define() -> None:
    with pytest.raises(NotImplementedError, match=r"ExecutorContract must define the method `executor`\."):
        ExecutorContract().executor()
