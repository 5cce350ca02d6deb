"""Workers with another version of lr_search, in which modules lie elsewhere: told in words, not as a failed import."""

from pathlib import Path

import pytest

import lr_search as lrs
from lr_search.errors import ClusterError
from lr_search_ray.cluster.versions import of_another_version, require_same_version
from tests.helpers.driven import searching
from tests.helpers.processes import python, write

pytestmark = pytest.mark.ray

IMPORTED = "The actor died because of an error raised in its creation task, ray::JobTrainable.__init__() (pid=1)\n"
MISSING = "ModuleNotFoundError: No module named 'lr_search_ray.jobs'"


@pytest.mark.parametrize(
    "line",
    [
        MISSING,
        "ModuleNotFoundError: No module named 'lr_search'",
        "ImportError: cannot import name 'Job' from 'lr_search.studies.study' (/opt/lr_search/studies/study.py)",
        "AttributeError: Can't get attribute 'Held' on <module 'lr_search_ray.jobs.worker' from '/opt/worker.py'>",
    ],
    ids=["module", "package", "name", "attribute"],
)
def test_what_a_worker_cannot_import_of_lr_search_is_a_matter_of_versions(line: str) -> None:
    words = of_another_version(f"{IMPORTED}  File 'worker.py', line 3, in <module>\n{line}\n")
    assert words == (
        f"Every node must have the same version of lr_search, but what {lrs.__version__} sent could not be imported by a "
        f"worker: {line}. Install the same on both."
    )


@pytest.mark.parametrize(
    "line",
    [
        "ModuleNotFoundError: No module named 'mine'",
        "ModuleNotFoundError: No module named 'my_lr_search.work'",
        "RuntimeError: 'lr_search' is a name",
        "The node died.",
    ],
)
def test_other_losses_are_not(line: str) -> None:
    assert of_another_version(IMPORTED + line) == ""


def test_a_worker_that_comes_later_with_another_version_ends_the_comparison() -> None:
    driven = searching()
    trial, _ = driven.start()
    driven.lose(trial, words=IMPORTED + MISSING)
    assert isinstance(driven.searcher.stopped, ClusterError)
    assert "Every node must have the same version of lr_search" in str(driven.searcher.stopped)
    driven.searcher.release()
    assert set(driven.states()) == {"WAITING"}


# on a real Ray


def test_another_version_is_refused_with_both_and_the_same_is_not(
    shared_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_same_version()  # does not raise
    theirs = lrs.__version__
    monkeypatch.setattr(lrs, "__version__", "9.9")
    with pytest.raises(ClusterError, match=rf"but got 9\.9 where the comparison was started and {theirs} on "):
        require_same_version()


SCRIPT = """
import sys
import torch
import lr_search as lrs
from lr_search.errors import ClusterError
from lr_search.studies.trial import TrialSpec
from lr_search_ray import RayExecutor

x = torch.linspace(-1, 1, 16).reshape(-1, 1)
workload = lrs.regression(
    model=lambda: torch.nn.Linear(1, 1), optimizer=torch.optim.SGD, train=(x, 3 * x), valid=(x, 3 * x), batch_size=4,
    num_steps=5, eval_every=5, device="cpu",
)
executor = RayExecutor(runtime_env={"env_vars": {"PYTHONPATH": sys.argv[1]}})
try:
    lrs.compare(workload, executor=executor, storage=None, strategies=["grid"], schedules=["constant"], seeds=1, budget=2)
except ClusterError as error:
    print(error)
"""


@pytest.mark.parametrize(("version", "told"), [('__version__ = "0.1.0"', "0.1.0"), ("raise ImportError", "none")])
def test_a_worker_of_another_layout_is_told_before_anything_is_unpickled(
    tmp_path: Path, version: str, told: str
) -> None:
    """Its packages have none of the modules that this version has."""
    write(tmp_path / "other" / "lr_search" / "__init__.py", version)
    write(tmp_path / "other" / "lr_search_ray" / "__init__.py", "")
    printed = python(tmp_path, write(tmp_path / "script.py", SCRIPT), tmp_path / "other")
    assert f"but got {lrs.__version__} where the comparison was started and {told} on " in printed
    assert "Install the same on both." in printed
