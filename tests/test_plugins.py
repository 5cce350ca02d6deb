"""Strategies, schedules and executors of an installed package, and samplers of OptunaHub."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optunahub
import pandas as pd
import pytest

import lr_search as lrs
from lr_search.samplers import per_trial
from lr_search.samplers.strategy_names import resolve_strategies
from tests.helpers.command_line import write
from tests.helpers.workloads import line

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "tiny-plugin"
version = "1.0"

[project.entry-points."lr_search.strategies"]
one_third = "tiny_plugin:one_third"
theirs = "tiny_plugin:Theirs"
broken = "tiny_plugin:not_there"

[project.entry-points."lr_search.schedules"]
halved = "tiny_plugin:halved"

[project.entry-points."lr_search.executors"]
counting = "tiny_plugin:Counting"

[tool.hatch.build.targets.wheel]
only-include = ["tiny_plugin.py"]
"""
PLUGIN = '''
"""What an author of a plug-in writes."""

import optuna
from lr_search import LocalExecutor
from lr_search.executors import Executor
from lr_search.samplers import FixedSampler, Strategy
from lr_search.schedules import Constant

one_third = Strategy("a name of its own", lambda search: FixedSampler(1 / 3), "always a third")


class Theirs(optuna.samplers.RandomSampler):
    """A sampler of theirs."""


def halved(lr, num_steps, steps_per_epoch=None):
    """Half of the peak, always."""
    return Constant(lr / 2)


class Counting(Executor):
    """One trial at a time, counted."""

    def run(self, tasks, progress):
        print(f"counting ran {len(tasks)} studies")
        LocalExecutor().run(tasks, progress)
'''


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package was installed into."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "tiny_plugin.py").write_text(PLUGIN)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
    ]
    done = subprocess.run([*pip, "--no-index", "--target", target, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def lr_search(installed: Path, folder: Path, *words: str) -> str:
    """What the command line prints where the package is installed."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lr_search", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.processes
def test_what_a_package_registers_is_listed_with_its_origin(installed: Path, tmp_path: Path) -> None:
    lines = [" ".join(line.split()) for line in lr_search(installed, tmp_path, "list").splitlines()]
    assert "one_third always a third [tiny-plugin]" in lines
    assert "theirs Theirs [tiny-plugin]" in lines
    assert "halved Half of the peak, always. [tiny-plugin]" in lines
    assert "counting One trial at a time, counted. [tiny-plugin]" in lines
    (broken,) = (line for line in lines if line.startswith("broken "))
    assert "cannot be imported: AttributeError" in broken
    assert any(line.startswith("grid ") and "[" not in line for line in lines)
    assert "Optuna's samplers go by name as well: cmaes, gp, nsgaii, nsgaiii, qmc" in lines


@pytest.mark.processes
def test_a_comparison_uses_all_that_a_package_registers(installed: Path, tmp_path: Path) -> None:
    target = f"{write(tmp_path)}:good"
    names = ("--strategies", "one_third,theirs", "--schedules", "halved", "--executor", "counting")
    printed = lr_search(installed, tmp_path, "compare", target, *names, "--budget", "2", "--seeds", "1")
    assert "counting ran 2 studies" in printed
    trials = pd.read_csv(tmp_path / "report" / "trials.csv")
    assert trials.groupby("strategy", observed=True).size().to_dict() == {"one_third": 2, "theirs": 2}
    assert trials[trials["strategy"] == "one_third"]["lr"].tolist() == [1 / 3, 1 / 3]
    assert set(trials["schedule"]) == {"halved"}
    comparison = lrs.load(f"sqlite:///{tmp_path / 'lr_search.db'}", target)
    third = comparison.evaluations[comparison.evaluations["strategy"] == "one_third"]
    assert third[third["step"] > 0]["lr"].unique() == pytest.approx([1 / 6])


# --- Optuna's own, by name


def test_optuna_s_samplers_go_by_name_at_the_command_line(
    cli: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("--schedules", "constant", "--budget", "3", "--seeds", "1")
    cli("compare", f"{write(folder)}:good", "--strategies", "cmaes,NSGAIISampler", *settings)
    trials = pd.read_csv(folder / "report" / "trials.csv")
    assert trials.groupby("strategy", observed=True)["lr"].nunique().to_dict() == {"NSGAIISampler": 3, "cmaes": 3}
    monkeypatch.setattr(per_trial, "find_spec", lambda package: None)
    refused = cli("compare", f"{write(folder)}:good", "--strategies", "cmaes", *settings, code=2)
    assert "error: CmaEsSampler needs cmaes: pip install cmaes" in refused.stderr
    refused = cli("compare", f"{write(folder)}:good", "--strategies", "cmeas", *settings, code=2)
    assert "Did you mean 'cmaes'" in refused.stderr


# --- OptunaHub: a module of a registry is a package with a sampler in it

HUB = """
    import optuna

    class Golden(optuna.samplers.BaseSampler):
        def __init__(self, seed=None):
            self.seed = seed

        def infer_relative_search_space(self, study, trial):
            return {}

        def sample_relative(self, study, trial, search_space):
            return {}

        def sample_independent(self, study, trial, name, distribution):
            share = (0.5 + trial.number * 0.618033988749895) % 1
            return distribution.low * (distribution.high / distribution.low) ** share
"""


def test_a_sampler_of_optunahub_is_a_strategy(tmp_path: Path) -> None:
    folder = tmp_path / "package" / "samplers" / "golden"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(textwrap.dedent(HUB))
    module = optunahub.load_local_module("samplers/golden", registry_root=str(tmp_path / "package"))
    given = {"class": module.Golden, "object": module.Golden(seed=1)}
    assert [strategy.settings for strategy in resolve_strategies(given)] == ["Golden", "a copy of Golden(seed=1)"]
    found = lrs.compare(
        line(),
        strategies=given,
        schedules=["constant"],
        lr_range=(1e-3, 0.1),
        budget=3,
        seeds=1,
        storage=None,
        progress=False,
    ).trials
    shares = [(0.5 + number * 0.618033988749895) % 1 for number in range(3)]
    for strategy in given:
        assert found[found["strategy"] == strategy]["lr"].tolist() == pytest.approx([1e-3 * 100**s for s in shares])
