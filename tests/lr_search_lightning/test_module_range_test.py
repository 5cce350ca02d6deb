"""The range test of a LightningModule: against Lightning's own loop at the same LRs, and what it leaves behind."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

import lr_search as lrs
import lr_search_lightning as lrl
from lr_search.errors import InvalidInputError, WorkloadError
from tests.helpers.lightning_nets import Data, Net, bare_trainer

pytestmark = [pytest.mark.trainers, pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")]


class Hooked(Net):
    """Noise on its inputs, a count of steps, and gradients changed before the step."""

    def __init__(self):
        super().__init__(dropout=0.0)
        self.steps = 0

    def on_after_batch_transfer(self, batch, dataloader_idx):
        inputs, classes = batch
        return inputs + 0.1, classes

    def on_train_batch_start(self, batch, batch_idx):
        self.steps += 1

    def on_before_optimizer_step(self, optimizer):
        for parameter in self.head.parameters():
            parameter.grad.mul_(0.5)

    def loss_of(self, batch):
        return super().loss_of(batch) * (1 + 0.1 * (self.steps % 3))


class AtThoseLRs(Callback):
    """Sets the LR of each step, and records the loss of its batches."""

    def __init__(self, lrs):
        self.lrs, self.losses = lrs, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step < len(self.lrs):
            for group, base in zip(trainer.optimizers[0].param_groups, pl_module.lrs, strict=True):
                group["lr"] = float(self.lrs[trainer.global_step]) * base / pl_module.lrs[0]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (partial(Net, dropout=0.0), {}),
        (Hooked, {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5}),
        (Hooked, {"precision": "bf16-mixed", "gradient_clip_val": 0.05, "gradient_clip_algorithm": "value"}),
        (partial(Net, dropout=0.0), {"precision": "64-true", "limit_train_batches": 4}),
    ],
    ids=["plain", "accumulated-clipped", "bf16-by-value", "double-limited"],
)
@pytest.mark.usefixtures("in_empty_folder")
def test_its_steps_are_those_of_lightnings_own_loop(make, settings):
    torch.manual_seed(0)
    module = make()
    data = Data(shuffle=False)
    curve = lrl.range_test(bare_trainer(**settings), copy.deepcopy(module), data, num_steps=20, end_lr=1.0)
    recorder = AtThoseLRs(curve.lr)
    bare_trainer(**settings | {"max_epochs": 20, "callbacks": [recorder]}).fit(module, data)
    losses = np.array(recorder.losses).reshape(-1, settings.get("accumulate_grad_batches", 1)).sum(axis=1)
    np.testing.assert_allclose(curve.loss, losses[: len(curve.loss)], rtol=1e-5)


def test_the_gain_ratio_is_that_of_the_same_steps_on_live_objects():
    torch.manual_seed(0)
    module, data = Net(dropout=0.0), Data(shuffle=False)
    ((optimizer,), _) = module.configure_optimizers()
    expected = lrs.range_test(module, optimizer, data.train_dataloader(), Net.loss_of, num_steps=20, end_lr=1.0)
    curve = lrl.range_test(bare_trainer(), module, data, num_steps=20, end_lr=1.0)
    np.testing.assert_allclose(curve.gain_ratio, expected.gain_ratio, rtol=1e-3)
    assert 0.9 < curve.gain_ratio[np.isfinite(curve.gain_ratio)][0] < 1.1  # a small step keeps its promise


@pytest.mark.usefixtures("in_empty_folder")
def test_the_fit_that_follows_is_the_one_without(weights, same_bits):
    def fitted(first):
        torch.manual_seed(0)
        module, trainer, datamodule = Net(), bare_trainer(max_epochs=2), Data()
        if first:
            curve = lrl.range_test(trainer, module, datamodule, end_lr=100.0)
            assert curve.stopped == "diverged"
            assert (module._trainer, trainer.callbacks, trainer.state.fn, trainer.num_sanity_val_steps) == (
                None,
                [],
                None,
                2,
            )
        trainer.fit(module, datamodule)
        return weights(module), trainer.callback_metrics["val_loss"], trainer.global_step

    (one, loss, steps), (other, other_loss, other_steps) = fitted(False), fitted(True)
    assert same_bits(one, other)
    assert (loss, steps) == (other_loss, other_steps)


class Asked(Logger):
    """Counts what is logged."""

    name, version = "asked", 0

    def __init__(self):
        super().__init__()
        self.count = 0

    def log_metrics(self, metrics, step=None):
        self.count += 1

    def log_hyperparams(self, params, *args, **kwargs):
        self.count += 1


@pytest.mark.usefixtures("in_empty_folder")
def test_nothing_is_logged_and_no_callback_is_called():
    class Never(Callback):
        def setup(self, trainer, pl_module, stage):
            raise AssertionError("called")

    logger, never = Asked(), Never()
    trainer = bare_trainer(logger=logger, callbacks=[never], log_every_n_steps=1)
    lrl.range_test(trainer, Net(), Data())
    assert logger.count == 0
    assert (trainer.loggers, trainer.callbacks) == ([logger], [never])


def test_data_that_the_datamodule_holds_are_not_copied():
    class Large(Data):
        def __init__(self):
            super().__init__()
            self.images = torch.empty(2**28 + 1)  # of 1 GiB, more than would be copied

    assert lrl.range_test(bare_trainer(), Net(), Large()).suggest().lr > 0


@pytest.mark.usefixtures("in_empty_folder")
def test_the_loaders_of_a_comparison_are_those_of_a_datamodule():
    def tested(data):
        torch.manual_seed(0)
        return lrl.range_test(bare_trainer(), Net(), data, num_steps=20, end_lr=1.0).loss

    data = Data(shuffle=False)
    np.testing.assert_array_equal(tested((data.train_dataloader(), data.val_dataloader())), tested(data))


@pytest.mark.usefixtures("in_empty_folder")
def test_lightning_under_its_other_name():
    pl = pytest.importorskip("pytorch_lightning")

    class Other(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(6, 3)

        def training_step(self, batch):
            return {"loss": torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=8, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[found := lrl.RangeTest()],
    )  # fmt: skip
    curve = lrl.range_test(trainer, module := Other(), Data().train_dataloader())
    assert curve.suggest().lr > 0
    trainer.fit(module, Data().train_dataloader())
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(found.suggestion.lr)


# ---- what is refused ----


class Manual(Net):
    """Takes its steps itself."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False


class WarmsUp(Net):
    """Writes LRs in its step."""

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)


class Silent(Net):
    """Returns no loss."""

    def training_step(self, batch, batch_idx):
        return None


def fitted_trainer():
    trainer = bare_trainer(max_steps=1)
    trainer.fit(Net(), Data())
    return trainer


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (lambda: (fitted_trainer(), Net(), Data()), InvalidInputError, "must not have trained yet, but got global_step=1. Make a new"),
        (lambda: (bare_trainer(), Manual(), Data()), WorkloadError, "needs automatic optimization"),
        (lambda: (bare_trainer(), WarmsUp(), Data()), InvalidInputError, r"overridden=\['optimizer_step'\]"),
        (lambda: (bare_trainer(), Silent(), Data()), WorkloadError, "training_step must return its loss.*NoneType"),
        (lambda: (3, Net(), Data()), InvalidInputError, "trainer must be a Lightning Trainer, but got int"),
        (lambda: (bare_trainer(), torch.nn.Linear(1, 1), Data()), InvalidInputError, "module must be a Lightning LightningModule"),
        (lambda: (bare_trainer(), Net(), None), InvalidInputError, "the fit must have training data, but got datamodule=None"),
        (lambda: (bare_trainer(limit_train_batches=0), Net(), Data()), WorkloadError, "must have training batches"),
    ],
    ids=["fitted", "manual", "own step", "no loss", "no trainer", "no module", "no data", "no batches"],
)  # fmt: skip
@pytest.mark.usefixtures("in_empty_folder")
def test_what_cannot_be_tested_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        lrl.range_test(*arguments())
