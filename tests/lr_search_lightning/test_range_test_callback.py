"""RangeTest sets the LR of a fit before its first step, and changes nothing else of it."""

import lightning.pytorch as pl
import pytest
import torch
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

import lr_search_lightning as lrl
from lr_search.errors import InvalidInputError
from tests.helpers.lightning_nets import LRS, Data, Net, bare_trainer, examples

pytestmark = [pytest.mark.trainers, pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")]


class Scheduled(Net):
    """A Net with another scheduler."""

    def __init__(self, make_scheduler, lrs=LRS):
        super().__init__(lrs)
        self.make_scheduler = make_scheduler

    def configure_optimizers(self):
        (optimizer,), _ = super().configure_optimizers()
        return [optimizer], [{"scheduler": self.make_scheduler(optimizer, self.lrs[0]), "interval": "step"}]


def warmed_up(optimizer, lr):
    warm_up = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4)
    return lr_scheduler.SequentialLR(optimizer, [warm_up, lr_scheduler.ExponentialLR(optimizer, 0.9)], [4])


def one_cycle(optimizer, lr):
    max_lrs = [lr * ratio / LRS[0] for ratio in LRS]
    return lr_scheduler.OneCycleLR(optimizer, max_lrs, total_steps=20, cycle_momentum=False)


@pytest.mark.parametrize("make_scheduler", [warmed_up, one_cycle])
@pytest.mark.usefixtures("in_empty_folder")
def test_the_fit_is_the_one_at_the_suggested_lrs(make_scheduler, weights):
    class OwnGenerator(Data):
        def train_dataloader(self):
            data = TensorDataset(*examples())
            return DataLoader(data, batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(3))

    def fitted(lrs, callbacks):
        torch.manual_seed(0)
        module = Scheduled(make_scheduler, lrs)
        trainer = bare_trainer(max_epochs=2, callbacks=callbacks, num_sanity_val_steps=0)
        trainer.fit(module, OwnGenerator())
        return trainer, weights(module)

    found = lrl.RangeTest("cosine")
    trainer, tuned = fitted(LRS, [found])
    assert (trainer.global_step, trainer.current_epoch) == (12, 2)
    assert found.suggestion.lr == found.curve.suggest(schedule="cosine", num_steps=12).lr
    _, expected = fitted([found.suggestion.lr * lr / LRS[0] for lr in LRS], [])
    assert tuned.keys() == expected.keys()
    for name, value in tuned.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7)
    assert found.plot() is not None


@pytest.mark.usefixtures("in_empty_folder")
def test_what_is_logged_begins_with_the_fit():
    class Recorder(pl.callbacks.Callback):
        def on_train_start(self, trainer, pl_module):
            self.before = dict(trainer.callback_metrics)

    recorder = Recorder()
    trainer = bare_trainer(max_steps=2, callbacks=[lrl.RangeTest(num_steps=20), recorder], num_sanity_val_steps=0)
    trainer.fit(Net(), Data())
    assert recorder.before == {}
    assert set(trainer.callback_metrics) >= {"train_loss"}


def test_a_fit_that_goes_on_keeps_its_lr(tmp_path):
    trainer = bare_trainer(max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(module := Net(), Data())
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    found = lrl.RangeTest()
    again = bare_trainer(max_epochs=2, callbacks=[found], default_root_dir=tmp_path)
    again.fit(module, Data(), ckpt_path=tmp_path / "one.ckpt")
    assert found.curve is None
    assert again.optimizers[0].param_groups[0]["lr"] == pytest.approx(LRS[0] * 0.9**2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lrl.RangeTest(steps=3), r"settings of RangeTest are schedule, start_lr.*but got \['steps'\]"),
        (lambda: lrl.RangeTest(schedule=3), "schedule must be"),
        (lambda: lrl.RangeTest().plot(), "plot.. needs a fit that has begun. Call it after trainer.fit"),
        (lambda: bare_trainer(callbacks=[lrl.RangeTest(start_lr=1.0, end_lr=0.1)]).fit(Net(), Data()), "start_lr must be below"),
    ],
    ids=["unknown", "kind", "plot", "setting"],
)  # fmt: skip
def test_wrong_use_is_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
