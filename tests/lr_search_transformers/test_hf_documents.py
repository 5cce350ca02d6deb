"""docs/transformers.md and the example do what they show."""

import dataclasses
import runpy
from pathlib import Path

import optuna
import pytest

import lr_search as lrs
from tests.helpers.imports import ROOT
from tests.lr_search_transformers.tiny_trainers import tiny_trainer
from tests.test_readme import printed_with

pytestmark = pytest.mark.trainers


def test_the_snippet_of_a_comparison_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # the default storage
    names = {"trainer": tiny_trainer(tmp_path / "out"), "dataclasses": dataclasses}
    exec(printed_with("best.training_arguments()"), names)
    assert "Suggestion(lr=" in capsys.readouterr().out
    best, args = names["best"], names["args"]
    assert args.learning_rate == best.lr
    assert args.lr_scheduler_type == best.recommendation.schedule


@pytest.mark.long
def test_the_snippet_of_a_search_runs(tmp_path):
    names = {"trainer": tiny_trainer(tmp_path, eval_strategy="epoch", save_strategy="no"), "lrs": lrs}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    exec("import lr_search_transformers", names)
    exec(printed_with("trainer.hyperparameter_search("), names)
    optuna.logging.set_verbosity(verbosity)
    assert names["prior"].low <= names["best_run"].hyperparameters["learning_rate"] <= names["prior"].high


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning")  # the Trainer's default, where there is no GPU
def test_the_example_is_short_and_runs(tmp_path, monkeypatch, capsys):
    example = Path(ROOT, "examples", "transformers_compare.py")
    assert len(example.read_text().splitlines()) <= 30
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example))
    assert "lr_scheduler_type" in capsys.readouterr().out
