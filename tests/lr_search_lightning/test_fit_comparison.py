"""Comparisons of a LightningModule: each trial is a fit of its own under our schedule, and leaves nothing behind."""

import runpy
import types
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, GradientAccumulationScheduler
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

import lr_search as lrs
import lr_search_lightning as lrl
from lr_search.errors import InvalidInputError, WorkloadError
from lr_search.ramp.settings import RampSettings
from lr_search.rng import seed_everything
from lr_search_lightning.fit_facts import facts_of
from lr_search_lightning.fit_trial import FitTrial
from tests.helpers.lightning_nets import LRS, Data, Net, bare_trainer, examples
from tests.test_readme import printed_with

pytestmark = [pytest.mark.trainers, pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")]

TIMES = ["seconds", "started", "ended", "worker"]
QUIET = {"storage": None, "progress": False, "seeds": 1}
ONE = {"strategies": ["grid"], "schedules": ["constant"], "budget": 1, "lr_range": (0.01, 0.02), **QUIET}


class OwnData(Data):
    """Its validation loader draws no random number of the training's."""

    def val_dataloader(self):
        return DataLoader(TensorDataset(*examples()), batch_size=24, generator=torch.Generator())


def own_trainer(**settings):
    """As people write it: with loggers, checkpoints and callbacks."""
    return pl.Trainer(accelerator="cpu", devices=1, max_epochs=4, **settings)


@pytest.mark.usefixtures("in_empty_folder")
def test_two_strategies_and_two_schedules_of_three_parameter_groups_and_the_answers_code():
    comparison = lrl.compare(
        Net, OwnData(), trainer=own_trainer, strategies=["grid", "range_test"], schedules=["constant", "cosine"], budget=3, **QUIET
    )  # fmt: skip
    trials = comparison.trials
    assert trials.groupby(["strategy", "schedule"]).size().to_dict() == {
        ("grid", "constant"): 3, ("grid", "cosine"): 3, ("range_test", "constant"): 1, ("range_test", "cosine"): 1,
    }  # fmt: skip
    assert set(trials["steps"][trials["outcome"] == "finished"]) == {24}
    answer = comparison.recommend()
    # the code of the answer, pasted into the module, in a fit of plain Lightning
    code = answer.code.replace("optimizer = ...", "(optimizer,), _ = Net.configure_optimizers(self)")
    names = {"Net": Net}
    exec(code.replace(f"{answer.lr:.4g}", repr(answer.lr)), names)
    Pasted = type("Pasted", (Net,), {"configure_optimizers": names["configure_optimizers"]})
    seed_everything(0)
    trainer = bare_trainer(max_epochs=4, num_sanity_val_steps=0)
    trainer.fit(Pasted(), OwnData())
    same = trials[(trials["schedule"] == answer.schedule) & np.isclose(trials["lr"], answer.lr, rtol=1e-3)]
    assert float(trainer.callback_metrics["val_loss"]) == pytest.approx(same["objective"].iloc[0], rel=1e-4)


@pytest.mark.usefixtures("in_empty_folder")
def test_a_comparisons_range_test_is_that_of_the_module_at_the_same_seed():
    settings = RampSettings(num_steps=20, end_lr=1.0)
    curve = FitTrial(Net, Data(), bare_trainer, "val_loss").own_range_test(3, settings)
    seed_everything(3)
    expected = lrl.range_test(bare_trainer(), Net(), Data(), num_steps=20, end_lr=1.0)
    np.testing.assert_array_equal(curve.loss, expected.loss)
    np.testing.assert_array_equal(curve.gain_ratio, expected.gain_ratio)
    assert np.isfinite(curve.gain_ratio).any()


class Watched(Net):
    """Notes what its fits do: LRs at each step, validations, who is called."""

    seen: tuple = ()

    def on_before_optimizer_step(self, optimizer):
        Watched.seen += (("step", *(group["lr"] for group in optimizer.param_groups)),)

    def on_validation_start(self):
        Watched.seen += (("validation", self.global_step),)


@pytest.mark.usefixtures("in_empty_folder")
def test_the_lrs_of_each_step_are_the_schedules_and_validations_fall_on_its_checkpoints():
    trainer = partial(own_trainer, accumulate_grad_batches=4, gradient_clip_val=1.0, check_val_every_n_epoch=3)
    Watched.seen = ()
    trials = lrl.compare(Watched, Data(), trainer=trainer, **{**ONE, "schedules": ["cosine"]}, eval_every=3).trials
    (lr,) = trials["lr"]
    steps = 4 * 2  # of 6 batches Lightning steps after 4, and at the end
    last = [each for each in Watched.seen if each[0] == "step"][-steps:]
    schedule = lrs.schedules.by_name("cosine", lr=lr, num_steps=steps)
    expected = [[schedule(step) * each / LRS[0] for each in LRS] for step in range(steps)]
    np.testing.assert_allclose([each[1:] for each in last], expected)
    assert [each[1] for each in Watched.seen if each[0] == "validation"][-3:] == [3, 6, 8]
    assert trials["steps"].tolist() == [steps]


@pytest.mark.parametrize(
    ("settings", "steps", "every"),
    [
        ({}, 24, 6),
        ({"val_check_interval": 0.5}, 24, 3),
        ({"check_val_every_n_epoch": 2, "accumulate_grad_batches": 4}, 8, 4),
        ({"check_val_every_n_epoch": None, "val_check_interval": 12}, 24, 12),
        ({"limit_train_batches": 4, "max_steps": 10}, 10, 4),
        ({"val_check_interval": "00:00:01:00"}, 24, None),
    ],
    ids=["each epoch", "twice an epoch", "accumulated", "by batches", "limited", "by time"],
)  # fmt: skip
@pytest.mark.usefixtures("in_empty_folder")
def test_the_steps_and_validations_of_a_fit_are_the_trainers(settings, steps, every):
    facts = facts_of(FitTrial(Net, Data(), partial(own_trainer, **settings), "val_loss"))
    assert (facts.num_steps, facts.validation_steps) == (steps, every)
    assert facts.batch_size == 8 * settings.get("accumulate_grad_batches", 1)


@pytest.mark.usefixtures("in_empty_folder")
def test_a_pruned_trial_ends_its_fit():
    Watched.seen = ()
    pruner = optuna.pruners.ThresholdPruner(upper=1e-6)
    trials = lrl.compare(Watched, Data(), trainer=own_trainer, pruner=pruner, **ONE).trials
    assert set(trials["outcome"]) == {"pruned"}
    assert set(trials["steps"]) == {6}  # the first validation, after a pass
    assert Watched.seen[-1] == ("validation", 6)


class Adversarial(pl.LightningModule):
    """Two optimizers that it steps itself, with schedulers of its own."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.one, self.other = torch.nn.Linear(6, 3), torch.nn.Linear(6, 3)

    def training_step(self, batch, batch_idx):
        for part, optimizer, scheduler in zip(
            (self.one, self.other), self.optimizers(), self.lr_schedulers(), strict=True
        ):
            loss = torch.nn.functional.cross_entropy(part(batch[0]), batch[1])
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            scheduler.step()
            self.log("lr", scheduler.get_last_lr()[0])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", torch.nn.functional.cross_entropy(self.one(batch[0]) + self.other(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizers = [torch.optim.SGD(self.one.parameters(), lr=0.1), torch.optim.SGD(self.other.parameters(), lr=0.2)]
        return optimizers, [torch.optim.lr_scheduler.ExponentialLR(each, 0.5) for each in optimizers]


@pytest.mark.usefixtures("in_empty_folder")
def test_manual_optimization_of_two_optimizers_is_compared_and_its_range_test_refused():
    trials = lrl.compare(Adversarial, Data(), trainer=own_trainer, **ONE).trials
    assert set(trials["outcome"]) == {"finished"}
    with pytest.raises(WorkloadError, match=r"needs automatic optimization.*Compare with strategies"):
        lrl.compare(Adversarial, Data(), trainer=own_trainer, **{**ONE, "budget": 3, "strategies": ["range_test"]})


class OwnStep(Net):
    """Takes its steps by a method of its own, in which no ramp with a gain ratio can be run."""

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        optimizer.step(closure=optimizer_closure)


@pytest.mark.usefixtures("in_empty_folder")
def test_a_module_with_steps_of_its_own_is_range_tested_by_its_fit():
    settings = {**ONE, "strategies": ["range_test"], "lr_range": (1e-3, 1.0), "budget": 3}
    trials = lrl.compare(OwnStep, Data(), trainer=own_trainer, **settings).trials
    assert set(trials["steps"]) == {24}
    assert np.isfinite(trials["objective"]).any()


class Counted(Callback):
    """Counts the fits that it is in."""

    fits = 0

    def on_fit_start(self, trainer, pl_module):
        Counted.fits += 1


@pytest.mark.usefixtures("in_empty_folder")
def test_callbacks_are_left_out_unless_they_are_named():
    class Stopping(Net):
        def configure_callbacks(self):
            return [EarlyStopping("nothing that is logged")]

    def trainer():
        return own_trainer(logger=CSVLogger("logs"), callbacks=[Counted(), GradientAccumulationScheduler({0: 2})])

    trials = lrl.compare(Stopping, Data(), trainer=trainer, **ONE).trials
    assert (trials["steps"].tolist(), Counted.fits) == ([24], 0)
    lrl.compare(Stopping, Data(), trainer=trainer, keep_callbacks=[Counted], **ONE)
    assert Counted.fits > 0


# ---- what is refused ----


class SetsLRs(Net):
    """A warm-up by hand."""

    def on_train_batch_start(self, batch, batch_idx):
        self.optimizers().param_groups[0]["lr"] = 1e-5


class Unvalidated(Net):
    """Has no validation."""

    validation_step = pl.LightningModule.validation_step


@pytest.mark.parametrize(
    ("module", "settings", "error", "message"),
    [
        (Net, {"monitor": "val_acc"}, WorkloadError, "monitor must be a name .* got 'val_acc'; logged: train_loss, val_loss"),
        (Unvalidated, {}, InvalidInputError, "the fit must validate: monitor='val_loss'"),
        (Net, {"datamodule": None}, InvalidInputError, "must have training data, but got datamodule=None. Give a"),
        (Net, {"trainer": partial(bare_trainer, max_epochs=-1)}, InvalidInputError, "must end by itself"),
        (SetsLRs, {}, WorkloadError, "learning rates of a trial must be its schedule's"),
        (Net, {"num_steps": 99}, WorkloadError, "must take num_steps=99 optimizer steps, but it took 24"),
        (lambda: 3, {}, InvalidInputError, r"make_module\(\) must be a Lightning LightningModule, but got int"),
        (Net, {"trainer": lambda: None}, InvalidInputError, r"trainer\(\) must be a Lightning Trainer, but got NoneType"),
    ],
    ids=["monitor", "no validation", "no data", "endless", "own LRs", "steps", "no module", "no trainer"],
)  # fmt: skip
@pytest.mark.usefixtures("in_empty_folder")
def test_what_cannot_be_compared_is_refused(module, settings, error, message):
    with pytest.raises(error, match=message):
        lrl.compare(module, **{"datamodule": Data(), "trainer": own_trainer, **ONE, "budget": 3, **settings})


def test_what_is_made_once_for_all_trials_is_refused():
    module, trainer = Net(), own_trainer()
    settings = {**ONE, "datamodule": Data(), "trainer": own_trainer}
    with pytest.raises(InvalidInputError, match=r"make_module must be a function that makes a module.*Pass its class"):
        lrl.compare(module, **settings)
    with pytest.raises(WorkloadError, match="Make the model and the optimizer inside the function"):
        lrl.compare(lambda: module, **settings)
    with pytest.raises(InvalidInputError, match=r"trainer\(\) must make a new Trainer each time it is called"):
        lrl.compare(Net, **{**settings, "trainer": lambda: trainer})


def test_the_data_given_are_copied_for_each_trial(in_empty_folder):
    class Moving(Data):
        """A loader whose generator goes on from fit to fit."""

        def __init__(self):
            super().__init__()
            self.generator = torch.Generator().manual_seed(1)

        def train_dataloader(self):
            data = TensorDataset(*examples())
            return DataLoader(data, batch_size=8, shuffle=True, generator=self.generator)

    data = Moving()
    settings = {"trainer": own_trainer, **ONE, "budget": 2, "strategies": {"a": 0.05, "b": 0.05}}
    trials = lrl.compare(Net, data, **settings).trials
    assert len(set(trials["objective"])) == 1
    again = lrl.compare(Net, Moving, **settings).trials
    pd.testing.assert_frame_equal(trials.drop(columns=TIMES), again.drop(columns=TIMES), check_exact=True)


@pytest.mark.usefixtures("in_empty_folder")
def test_the_example_runs_and_is_short(capsys):
    example = Path(__file__).parents[2] / "examples" / "lightning_compare.py"
    assert len(example.read_text().splitlines()) <= 30
    runpy.run_path(str(example))
    assert "Train with: " in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_what_the_document_prints_runs(capsys):
    names = {"pl": types.SimpleNamespace(Trainer=bare_trainer), "Net": Net, "Data": Data}
    exec(printed_with("callbacks=[lrl.RangeTest("), names)
    assert 0 < names["curve"].suggest().lr < 10
    assert len(names["comparison"].trials) == 10  # three of each grid, two after each range test
    assert "Train with: " in capsys.readouterr().out
