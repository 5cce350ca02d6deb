"""Comparisons of a Trainer: trials that are its own trainings, to the last bit, and nothing else of it touched."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest
from transformers import Trainer, TrainerCallback
from transformers.utils import logging

import lr_search as lrs
import lr_search_transformers
from lr_search.errors import InvalidInputError, LRSearchError
from tests.helpers.imports import ROOT
from tests.lr_search_transformers.tiny_trainers import make_bert, tiny_trainer

pytestmark = pytest.mark.trainers

TIMES = ["seconds", "started", "ended", "worker"]
SEED = 3


def compared(trainer, **settings):
    """One seed, nothing kept and nothing said."""
    common = {"strategies": ["grid"], "lr_range": (1e-4, 0.1), "budget": 2, "seeds": [SEED], "storage": None}
    return lr_search_transformers.compare(trainer, **{**common, "progress": False, **settings})


def value_at_the_end(trainer, metric="eval_loss"):
    trainer.train()
    return trainer.evaluate()[metric]


class Keeps(Trainer):
    """A class of the user's own with an argument of its own, and a loss that depends on it."""

    def __init__(self, *args, factor, **kwargs):
        super().__init__(*args, **kwargs)
        self.factor = factor

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        return (self.factor * loss, outputs) if return_outputs else self.factor * loss


CASES = {
    "linear": {"schedules": ["linear"]},
    "cosine after a warm-up, accumulated": {"schedules": ["cosine"], "warmup_steps": 3, "gradient_accumulation_steps": 3},
    "a language model": {"gpt": True, "schedules": ["wsd"], "gradient_accumulation_steps": 2},
    "label smoothing": {"schedules": ["constant"], "label_smoothing_factor": 0.1, "max_steps": 13},
    "a class of one's own": {"kind": Keeps, "made_with": {"factor": 0.5}},
}


@pytest.mark.parametrize("case", CASES)
def test_the_arguments_of_the_answer_give_the_trials_objective_to_the_bit(case, tmp_path):
    settings = dict(CASES[case])
    schedules = settings.pop("schedules", None)
    trainer = tiny_trainer(tmp_path, **settings)
    best = lr_search_transformers.best(compared(trainer, schedules=schedules))
    args = dataclasses.replace(trainer.args, seed=SEED, **best.training_arguments())
    assert args.learning_rate == best.lr
    assert value_at_the_end(tiny_trainer(tmp_path, **{**settings, **args_given(args)})) == best.recommendation.value


def args_given(args):
    names = ("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "seed")
    return {name: getattr(args, name) for name in names}


def test_a_schedule_that_transformers_lacks_is_attached(tmp_path):
    best = lr_search_transformers.best(compared(tiny_trainer(tmp_path), schedules=["sgdr"], objective="accuracy"))
    assert best.recommendation.objective == "eval_accuracy"
    with pytest.raises(InvalidInputError, match=r"Transformers has too, but got sgdr.*best\.attach"):
        best.training_arguments()
    trainer = tiny_trainer(tmp_path, seed=SEED)
    best.attach(trainer)
    assert value_at_the_end(trainer, "eval_accuracy") == best.recommendation.value


def test_the_pasted_code_gives_the_trials_objective(tmp_path):
    found = compared(tiny_trainer(tmp_path), schedules=["triangular2"]).recommend()
    trainer = tiny_trainer(tmp_path, seed=SEED)
    exec(found.code, {"trainer": trainer})
    # the code has the LR to 4 digits
    assert value_at_the_end(trainer) == pytest.approx(found.value, rel=1e-3)


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    Path(tempfile.gettempdir()).mkdir()
    trainer = tiny_trainer(tmp_path / "out", save_strategy="steps", save_steps=5, eval_strategy="steps", eval_steps=5)
    names = dict(vars(trainer))
    walked = trainer.accelerator.gradient_state.dataloader_references
    handlers, verbosity = list(logging.get_logger("transformers").handlers), logging.get_verbosity()
    compared(trainer, strategies=["range_test"], lr_range=(1e-4, 100.0))
    assert vars(trainer) == names
    assert trainer.state.log_history == []
    assert trainer.accelerator._dataloaders == []
    assert trainer.accelerator.gradient_state.dataloader_references == walked
    assert logging.get_logger("transformers").handlers == handlers
    assert logging.get_verbosity() == verbosity
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    assert list((tmp_path / "out").iterdir()) == []


def test_a_trial_that_is_pruned_stops_at_once(tmp_path):
    steps = []

    class Counts(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            steps.append(state.global_step)

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    settings = {"budget": 4, "eval_every": 4, "lr_range": (1e-5, 0.1), "callbacks": [Counts]}
    trials = compared(tiny_trainer(tmp_path), pruner=pruner, schedules=["constant"], **settings).trials
    assert set(trials["state"]) == {"COMPLETE", "PRUNED"}
    assert len(steps) >= trials["steps"].sum()  # some more are taken before the first trial


def test_the_evaluations_are_reported_without_their_times(tmp_path):
    found = compared(tiny_trainer(tmp_path), eval_every=5, budget=1)
    assert {"eval_loss", "eval_accuracy"} <= set(found.evaluations.columns)
    assert not [name for name in found.evaluations.columns if "runtime" in name or "per_second" in name]
    assert {5, 10, 15, 20} <= set(found.evaluations["step"])


def test_an_objective_that_is_no_metric_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(LRSearchError, match=r"got 'eval_f1'. It gives eval_loss, eval_accuracy"):
        compared(tiny_trainer(tmp_path), objective="f1")


def test_a_trainer_that_cannot_be_compared_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(InvalidInputError, match=r"must have a model_init.*Trainer\(model_init="):
        compared(tiny_trainer(tmp_path, made_with={"model": make_bert(), "model_init": None}))
    with pytest.raises(InvalidInputError, match="must have an eval_dataset"):
        compared(tiny_trainer(tmp_path, made_with={"eval_dataset": None}))

    class Loses(Trainer):
        def __init__(self, *args, factor=1.0, **kwargs):
            super().__init__(*args, **kwargs)

    with pytest.raises(InvalidInputError, match=r"got no attribute factor. Set self.factor = factor"):
        compared(tiny_trainer(tmp_path, kind=Loses))
    trainer = tiny_trainer(tmp_path, max_steps=2)
    trainer.train()
    with pytest.raises(InvalidInputError, match="must not have trained yet"):
        compared(trainer)


# ---- killed ----

PROGRAM = """
import sys, optuna
import lr_search_transformers
from tests.lr_search_transformers.tiny_trainers import tiny_trainer

found = lr_search_transformers.compare(
    tiny_trainer(sys.argv[1] + "/out"), strategies=["grid", "range_test"], schedules=["linear"], lr_range=(1e-4, 0.1),
    budget=6, seeds=1, storage="sqlite:///" + sys.argv[1] + "/killed.db", name="killed", progress=False,
)
"""


def frame(folder):
    return lrs.load(f"sqlite:///{folder}/killed.db", "killed").trials.drop(columns=TIMES)


def program(folder, killed_after=0):
    """The program, killed when so many trials are complete. Returns: its exit code."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], env=environment)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if killed_after and complete(folder) >= killed_after:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.02)
    return process.wait(1)


def complete(folder):
    import sqlite3

    if not Path(folder, "killed.db").exists():
        return 0
    with sqlite3.connect(f"file:{folder}/killed.db?mode=ro", uri=True) as connection:
        try:
            return connection.execute("SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'").fetchone()[0]
        except sqlite3.OperationalError:  # not made yet
            return 0


def test_a_comparison_that_is_killed_goes_on_as_if_it_had_not_been(tmp_path):
    assert program(tmp_path / "killed", killed_after=3) == -signal.SIGKILL
    assert "COMPLETE" in set(frame(tmp_path / "killed")["state"])
    assert program(tmp_path / "killed") == 0
    assert program(tmp_path / "undisturbed") == 0
    pd.testing.assert_frame_equal(frame(tmp_path / "killed"), frame(tmp_path / "undisturbed"), check_exact=True)
