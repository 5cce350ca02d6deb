"""Small LightningModules and their data, shared by the tests of lr_search_lightning. Imports Lightning."""

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LRS = (0.01, 0.02, 0.1)  # of the three parameter groups
BATCHES = 6  # a pass


def examples():
    """48 examples (inputs (48, 6), classes (48,)) that a small net can learn."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(48, 6, generator=generator)
    return inputs, (inputs @ torch.randn(6, 3, generator=generator)).argmax(1)


class Net(pl.LightningModule):
    """Three parameter groups, buffers, random numbers, a schedule of its own, and something logged."""

    def __init__(self, lrs=LRS, dropout=0.2):
        super().__init__()
        self.lrs = lrs
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout))
        self.middle, self.head = nn.Linear(16, 16), nn.Linear(16, 3)

    def loss_of(self, batch):
        inputs, classes = batch
        return nn.functional.cross_entropy(self.head(self.middle(self.body(inputs))), classes)

    def training_step(self, batch, batch_idx):
        loss = self.loss_of(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss_of(batch))

    def configure_optimizers(self):
        parts = zip((self.body, self.middle, self.head), self.lrs, strict=True)
        groups = [{"params": part.parameters(), "lr": lr} for part, lr in parts]
        optimizer = torch.optim.SGD(groups, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


class Data(pl.LightningDataModule):
    """6 batches of 8 a pass, shuffled unless told otherwise."""

    def __init__(self, shuffle=True):
        super().__init__()
        self.shuffle = shuffle

    def train_dataloader(self):
        return DataLoader(TensorDataset(*examples()), batch_size=8, shuffle=self.shuffle)

    def val_dataloader(self):
        return DataLoader(TensorDataset(*examples()), batch_size=24)


def bare_trainer(**settings):
    """A Trainer on the CPU that shows and writes nothing."""
    nothing = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**({"accelerator": "cpu", "devices": 1, "max_epochs": 8, **nothing} | settings))
