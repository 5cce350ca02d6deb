"""A LightningModule with three parameter groups: two strategies x two schedules, every trial a fit of its own."""

import lightning.pytorch as pl
from torch import Generator, nn, optim, randn
from torch.utils.data import DataLoader, TensorDataset

import lr_search_lightning as lrl


class Classifier(pl.LightningModule):  # noqa: D101
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))

    def training_step(self, batch, batch_idx):  # noqa: D102
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):  # noqa: D102
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self):  # noqa: D102  the ratios of the LRs, 1 : 1 : 2, are kept
        lrs = zip(self.net[::2], (0.1, 0.1, 0.2), strict=True)
        return optim.SGD([{"params": part.parameters(), "lr": lr} for part, lr in lrs], momentum=0.9)


x = randn(1500, 20, generator=Generator().manual_seed(0))
data = TensorDataset(x, (x[:, :4] * x[:, 4:8]).argmax(1))
loaders = (DataLoader(data, batch_size=50, shuffle=True), DataLoader(data, batch_size=500))
settings = {"strategies": ["grid", "range_test"], "schedules": ["constant", "one_cycle"], "budget": 3, "seeds": 1}
print(lrl.compare(Classifier, loaders, trainer=lambda: pl.Trainer(max_epochs=4), storage=None, **settings))
