"""The OptunaHub package of RangeTestSampler, by the registry's rules."""

import re
import runpy
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import optuna
import pytest
import yaml

import lr_search
import lr_search_optuna
from lr_search.samplers import RangeTestSampler

HUB = Path(lr_search_optuna.__file__).parent / "hub"
NAME = "samplers/lr_range_test"
PACKAGE = HUB / "package" / NAME

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def module():
    import optunahub

    return optunahub.load_local_module(NAME, registry_root=str(HUB / "package"))


def test_it_is_loaded_as_the_registry_loads_it(module):
    assert module.__name__ == "optunahub_registry.package.samplers.lr_range_test"
    assert module.RangeTestSampler is RangeTestSampler
    assert (module.LRPrior, module.LRCurve) == (lr_search.LRPrior, lr_search.LRCurve)
    study = optuna.create_study(sampler=module.RangeTestSampler(module.LRPrior.around(0.01)))
    study.optimize(lambda trial: trial.suggest_float("lr", 1e-5, 10.0, log=True), n_trials=1)
    assert study.best_params == {"lr": 0.01}


def test_it_has_the_files_the_registry_asks_for():
    found = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*") if "__pycache__" not in path.parts}
    required = {"LICENSE", "README.md", "__init__.py", "example.py"}
    assert found == required | {"requirements.txt", "tests", "tests/test_sampler.py"}
    assert "<COPYRIGHT HOLDER>" not in (PACKAGE / "LICENSE").read_text()
    assert (PACKAGE / "LICENSE").read_text().startswith("MIT License")


def test_its_front_matter_is_complete():
    _, front, body = re.split(r"^---$", (PACKAGE / "README.md").read_text(), maxsplit=2, flags=re.MULTILINE)
    found = yaml.safe_load(front)
    assert set(found) == {"author", "title", "description", "tags", "optuna_versions", "license"}
    assert "sampler" in found["tags"]
    assert found["license"] == "MIT License"
    assert found["optuna_versions"] == [version("optuna")]  # confirmed by the test below
    assert all("Please fill in" not in str(value) for value in found.values())
    for head in ("Abstract", "APIs", "Installation", "Example"):
        assert f"\n## {head}\n" in body


def test_the_readmes_signatures_are_the_samplers(module):
    text = (PACKAGE / "README.md").read_text()
    assert '- `RangeTestSampler(prior=None, param="lr", *, seed=0, inner=None)`' in text
    assert RangeTestSampler().params == ("lr",)
    assert RangeTestSampler(None, "lr", seed=0, inner=None).inner is None
    for name in re.findall(r"LRPrior\.(\w+)", text):
        assert callable(getattr(module.LRPrior, name))


def test_its_example_runs(monkeypatch, capsys, module):
    monkeypatch.setattr("optunahub.load_module", lambda package: module if package == NAME else None)  # no network
    runpy.run_path(str(PACKAGE / "example.py"))
    best = yaml.safe_load(capsys.readouterr().out)
    assert 0.01 < best["lr"] < 0.1  # it is 0.03


@pytest.mark.conformance
def test_its_own_tests_pass_as_the_registry_runs_them():
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, f"package/{NAME}"], cwd=HUB, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout
    passed = int(re.findall(r"(\d+) passed", done.stdout)[0])
    assert passed >= 2 * (66 + 16) + 3  # BasicSamplerTestCase and MultiObjectiveSamplerTestCase, twice
