"""The package lr_search_optuna as a whole: its names, its examples, and what importing it loads."""

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

import lr_search_optuna

HOUSE = Path(lr_search_optuna.__file__).parent
FILES = sorted(HOUSE.glob("*.py"))
MODULES = ["lr_search_optuna" if file.stem == "__init__" else f"lr_search_optuna.{file.stem}" for file in FILES]

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("name", MODULES)
def test_the_docstrings_examples_run(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0


def test_every_public_function_has_an_example():
    for name in lr_search_optuna.__all__:
        thing = getattr(lr_search_optuna, name)
        assert not callable(thing) or ">>> " in thing.__doc__, name


def test_all_is_sorted_and_complete():
    tree = ast.parse((HOUSE / "__init__.py").read_text())
    imported = {alias.name for line in tree.body if isinstance(line, ast.ImportFrom) for alias in line.names}
    assert set(lr_search_optuna.__all__) == imported
    assert lr_search_optuna.__all__ == sorted(imported, key=lambda name: (not name.isupper(), name))


@pytest.mark.processes
def test_importing_it_loads_no_dashboard_and_no_pyplot():
    code = "import sys, lr_search_optuna; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "lr_search_optuna.dashboard.publish" in loaded
    assert not {"optuna_dashboard", "optunahub", "plotly", "matplotlib.pyplot", "ray"} & set(loaded)


def test_files_are_small_and_say_what_they_hold():
    for file in FILES:
        assert ast.get_docstring(ast.parse(file.read_text())), file
        assert len(file.read_text().splitlines()) <= 250, file
