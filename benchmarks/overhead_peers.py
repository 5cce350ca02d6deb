"""Other libraries' range tests on a task of `overhead_tasks.py`, called as their documentation has it.

Each takes the model, its optimizer, the batches and the number of steps, from `START_LR` to `END_LR`. Lightning is told
to stop nowhere early; none of the others has a reason to. Their suggestions are not asked for.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.overhead_tasks import Batch, loss

START_LR, END_LR = 1e-8, 1e-6  # so low that no run ends early

Peer = Callable[[nn.Module, torch.optim.Optimizer, list[Batch], int], None]


def torch_lr_finder(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Batch], num_steps: int) -> None:
    """Writes its progress bar to stderr, which cannot be turned off."""
    from torch_lr_finder import LRFinder, TrainDataLoaderIter

    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss(), device="cpu")
    finder.range_test(TrainDataLoaderIter(batches), start_lr=START_LR, end_lr=END_LR, num_iter=num_steps)
    finder.reset()


def ignite(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Batch], num_steps: int) -> None:
    """With its own `create_supervised_trainer`."""
    from ignite.engine import create_supervised_trainer
    from ignite.handlers import FastaiLRFinder

    trainer = create_supervised_trainer(model, optimizer, nn.CrossEntropyLoss(), device="cpu")
    saved: dict[str, Any] = {"model": model, "optimizer": optimizer}
    finder = FastaiLRFinder()
    with finder.attach(trainer, to_save=saved, start_lr=START_LR, end_lr=END_LR, num_iter=num_steps) as finding:
        finding.run(batches)


class _Pass:
    """The batches as a loader: Lightning takes a list for several loaders."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)


def lightning(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Batch], num_steps: int) -> None:
    """Without logger, checkpoints and progress bar."""
    import lightning.pytorch as pl
    from lightning.pytorch.tuner import Tuner

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Batch, index: int) -> torch.Tensor:
            return loss(self.model, batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer

    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=folder, max_epochs=-1,
        )  # fmt: skip
        Tuner(trainer).lr_find(
            Module(), _Pass(batches), min_lr=START_LR, max_lr=END_LR, num_training=num_steps,
            early_stop_threshold=None, update_attr=False,
        )  # fmt: skip


def fastai(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Batch], num_steps: int) -> None:
    """With torch's optimizer in its wrapper, without progress bar and plot."""
    importlib.import_module("fastai.callback.schedule")  # gives the learner its lr_find
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(
            DataLoaders(batches, batches), model, loss_func=nn.CrossEntropyLoss(),
            opt_func=OptimWrapper(opt=optimizer), path=folder,
        )  # fmt: skip
        with learner.no_bar():
            learner.lr_find(START_LR, END_LR, num_it=num_steps, show_plot=False, suggest_funcs=())


PEERS: dict[str, tuple[str, str, Peer]] = {  # name -> distribution, module, call
    "torch-lr-finder": ("torch-lr-finder", "torch_lr_finder", torch_lr_finder),
    "ignite": ("pytorch-ignite", "ignite.handlers", ignite),
    "lightning": ("lightning", "lightning.pytorch", lightning),
    "fastai": ("fastai", "fastai.learner", fastai),
}


def available() -> tuple[dict[str, Peer], dict[str, str]]:
    """Returns: name -> call of those that can be imported, and name -> version, or why it is missing."""
    found, versions = {}, {}
    for name, (package, module, call) in PEERS.items():
        try:
            with quiet():
                importlib.import_module(module)
        except ImportError as error:
            versions[name] = f"missing: {error}"
            continue
        found[name], versions[name] = call, importlib.metadata.version(package)
    return found, versions


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, messages and warnings."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:
            warnings.simplefilter("ignore")
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield
    finally:
        logging.disable(before)
