"""Comparisons of a Trainer: trials that are its own trainings, to the last bit, and nothing else of it touched."""

import dataclasses
import signal
import tempfile
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch
from torch.utils.data import IterableDataset
from transformers import Trainer, TrainerCallback, default_data_collator
from transformers.utils import logging

import lr_search_transformers
from lr_search.errors import InvalidInputError, LRSearchError
from tests.helpers.processes import python
from tests.lr_search_transformers.tiny_trainers import make_bert, sentences, tiny_trainer

pytestmark = pytest.mark.trainers

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
    "cosine after a warm-up, accumulated": {
        "schedules": ["cosine"],
        "warmup_steps": 3,
        "gradient_accumulation_steps": 3,
    },
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


@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_the_pasted_code_gives_the_trials_objective(warmup_steps, tmp_path):
    found = compared(tiny_trainer(tmp_path, warmup_steps=warmup_steps), schedules=["triangular2"], budget=1).recommend()
    trainer = tiny_trainer(tmp_path, seed=SEED)
    exec(found.code, {"trainer": trainer})
    assert value_at_the_end(trainer) == pytest.approx(found.value, rel=1e-4)  # the code has the LR to 4 digits


def test_nothing_is_left_behind(tmp_path, monkeypatch, global_rng):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    Path(tempfile.gettempdir()).mkdir()
    trainer = tiny_trainer(tmp_path / "out", save_strategy="steps", save_steps=5, eval_strategy="steps", eval_steps=5)
    names = dict(vars(trainer))
    walked = trainer.accelerator.gradient_state.dataloader_references
    handlers, verbosity = list(logging.get_logger("transformers").handlers), logging.get_verbosity()
    rng = global_rng()
    found = compared(trainer, strategies=["range_test"], lr_range=(1e-4, 100.0), budget=3)
    assert found.curves["gain_ratio"].notna().any()
    assert global_rng() == rng
    assert vars(trainer) == names
    assert trainer.state.log_history == []
    assert trainer.accelerator._dataloaders == []
    assert trainer.accelerator.gradient_state.dataloader_references == walked
    assert logging.get_logger("transformers").handlers == handlers
    assert logging.get_verbosity() == verbosity
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    assert list((tmp_path / "out").iterdir()) == []


def test_a_trial_that_is_pruned_stops_at_once(tmp_path):
    trainings = []

    class Counts(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            trainings.append(0)

        def on_step_begin(self, args, state, control, **kwargs):
            trainings[-1] += 1

    pruner = optuna.pruners.MedianPruner(n_startup_trials=1)
    settings = {
        "budget": 3,
        "eval_every": 4,
        "lr_range": (1e-5, 1e-2),
        "callbacks": [Counts],
        "schedules": ["constant"],
    }
    trials = compared(tiny_trainer(tmp_path), pruner=pruner, **settings).trials
    assert set(trials["state"]) == {"COMPLETE", "PRUNED"}
    assert trainings[-len(trials) :] == list(trials["steps"])  # the first few only look


class Endless(IterableDataset):
    """Data without a length."""

    def __iter__(self):
        return iter(sentences(40, 1))


class Masks:
    """Collates, and masks words drawn from a generator of its own."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, examples):
        batch = default_data_collator(examples)
        masked = torch.rand(batch["input_ids"].shape, generator=self.generator) < 0.3
        return {**batch, "input_ids": batch["input_ids"].masked_fill(masked, 0)}


def test_data_without_a_length_and_several_sets_to_evaluate_on(tmp_path):
    judged = {"easy": sentences(16, 3), "hard": sentences(16, 4)}
    trainer = tiny_trainer(
        tmp_path, max_steps=20, made_with={"train_dataset": Endless(), "eval_dataset": judged, "data_collator": Masks()}
    )
    # the same LR twice: each trial has the collator as it was
    trials = compared(trainer, objective="eval_hard_loss", strategies={"a": 1e-3, "b": 1e-3}, budget=1).trials
    assert len(set(trials["objective"])) == 1
    assert {"eval_easy_loss", "eval_hard_accuracy"} <= set(trials.columns)
    assert trials["steps"].tolist() == [20, 20]


def test_the_evaluations_are_reported_without_their_times(tmp_path):
    found = compared(tiny_trainer(tmp_path), eval_every=5, budget=1)
    told = found.evaluations
    assert set(told["metric"]) == {"eval_loss", "eval_accuracy", "train_loss"}
    assert set(told["step"]) == {5, 10, 15, 20}


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

    class Unfreezes(TrainerCallback):
        pass

    with pytest.raises(InvalidInputError, match=r"callbacks=\[Unfreezes\]; or callbacks=\[\], for none"):
        compared(tiny_trainer(tmp_path, made_with={"callbacks": [Unfreezes()]}))
    trainer = tiny_trainer(tmp_path, max_steps=2)
    trainer.train()
    with pytest.raises(InvalidInputError, match="must not have trained yet"):
        compared(trainer)


# ---- killed ----


def compare_in(folder):
    url = f"sqlite:///{folder}/killed.db"
    settings = {
        "strategies": ["grid", "range_test"],
        "schedules": ["linear"],
        "budget": 4,
        "seeds": 1,
        "name": "killed",
    }
    found = compared(tiny_trainer(folder / "out"), storage=url, **settings)
    return found.trials.drop(columns=["seconds", "started", "ended", "worker"])


FORKS = """
import os, pathlib, signal, sqlite3, sys, time
from tests.lr_search_transformers.test_hf_compare import compare_in

folder = pathlib.Path(sys.argv[1])


def complete():
    try:
        with sqlite3.connect(f"file:{folder}/killed.db?mode=ro", uri=True) as connection:
            return connection.execute("SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'").fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0


child = os.fork()  # importing Transformers takes longer than the comparison
if not child:
    compare_in(folder)
    os._exit(0)
while complete() < 3:
    time.sleep(0.01)
os.kill(child, signal.SIGKILL)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), complete(), len(compare_in(folder)))
"""


@pytest.mark.long
def test_a_comparison_that_is_killed_goes_on_as_if_it_had_not_been(tmp_path):
    code, done, trials = map(int, python(tmp_path, "-W", "ignore", "-c", FORKS, tmp_path).split()[-3:])
    assert code == -signal.SIGKILL
    assert 3 <= done < trials + 1  # with a range test
    (tmp_path / "undisturbed").mkdir()
    undisturbed = compare_in(tmp_path / "undisturbed")
    pd.testing.assert_frame_equal(compare_in(tmp_path), undisturbed, check_exact=True)
