"""What the commands that train nothing load, and that `list` says of a plug-in what the plug-in says, whether it is loaded or not."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from lr_search import plugins
from lr_search.cli import list_command
from tests.helpers.imports import imports_of, modules_imported, source_files

HEAVY = {"torch", "optuna", "pandas", "matplotlib", "sqlalchemy", "scipy", "ray", "lr_search_ray", "jinja2", "sklearn"}
RUN = """
import sys
from lr_search.cli import app
try:
    app(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
print(*sys.modules)
"""


def loaded_by(*words: str) -> set[str]:
    """The modules that a command line loads."""
    done = subprocess.run([sys.executable, "-c", RUN, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def loaded_with(*modules: str) -> dict[str, str]:
    """The source of our modules that come with some when these are loaded, those of the packages around them too."""
    files = source_files()
    waiting, found = list(modules), {}
    while waiting:
        module = waiting.pop()
        if module in found or module not in files:
            continue
        found[module] = files[module].read_text()
        outer = [module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)]
        waiting += [*outer, *modules_imported(found[module], files, "load")]
    return found


def packages_loaded(source: str) -> set[str]:
    """The packages from which a source imports when it is loaded."""
    return {each.module.partition(".")[0] for each in imports_of(source) if each.when == "load"}


def test_help_loads_nothing_heavy() -> None:
    assert not HEAVY & loaded_by("--help")


def test_list_loads_only_what_its_lines_are_made_from() -> None:
    assert HEAVY & loaded_by("list") == {"optuna"}  # which strategies are made of


@pytest.mark.parametrize(
    "module",
    [
        "lr_search.comparison.loading", "lr_search.results.parquet", "lr_search.report.page", "lr_search.report.terminal",
        "lr_search.controllers", "lr_search.optimizers", "lr_search.schedules", "lr_search.curves.suggest",
    ],
)  # fmt: skip
def test_nothing_that_reads_or_reports_loads_torch(module: str) -> None:
    found = loaded_with(module)
    assert "lr_search.errors" in found
    assert [name for name, source in found.items() if "torch" in packages_loaded(source)] == []


def test_what_loads_torch_is_found() -> None:
    found = loaded_with("lr_search.executors.executor_names")  # by way of the package around it, and further
    assert any("torch" in packages_loaded(source) for source in found.values())


def test_a_table_is_printed_without_what_draws() -> None:
    found = loaded_with("lr_search.report.terminal")
    assert {name for name, source in found.items() if {"matplotlib", "jinja2"} & packages_loaded(source)} == set()


@pytest.mark.processes
@pytest.mark.usefixtures("bowl_comparison")
def test_a_report_loads_no_torch(bowl_storage: str, tmp_path: Any) -> None:
    loaded = loaded_by("report", bowl_storage, "bowl", "--out", str(tmp_path))
    assert "matplotlib.figure" in loaded
    assert not {"torch", "ray", "sklearn"} & loaded
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("name", ["fused", "local", pytest.param("ray", marks=pytest.mark.ray)])
def test_an_executor_is_described_from_its_source_as_it_describes_itself(cli: Callable[..., Any], name: str) -> None:
    described = inspect.getdoc(plugins.load_plugin(plugins.EXECUTORS, name)).splitlines()[0]  # type: ignore[union-attr]
    lines = [line.split(maxsplit=1) for line in cli("list").stdout.splitlines()]
    assert [name, described] in lines


def test_what_an_executor_needs_and_lacks_is_told(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = list_command.find_spec
    monkeypatch.setattr(list_command, "find_spec", lambda package: None if package == "ray" else found(package))
    monkeypatch.setitem(sys.modules, "lr_search_ray", None)
    lines = cli("list").stdout.splitlines()
    (told,) = (line for line in lines if line.split()[0] == "ray")
    assert "'ray' is registered as lr_search_ray:RayExecutor, which cannot be imported: " in told
    assert any(line.split()[0] == "local" for line in lines)
