"""Other libraries' learning-rate finders on a workload, each with its own defaults and 100 steps.

Every tool gets the same live objects: a module whose output is the loss, its optimizer, and pairs (batches of one step,
nothing). Accumulation and clipping happen inside these, so that all train alike. Where a tool starts at "the optimizer's
own LR", that is 1e-7, as their documentation has it. The packages are imported when they are asked for; none is needed
by lr_search.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

from lr_search import Workload
from lr_search.optimizers.param_groups import group_ratios, held_tensors, set_lr
from lr_search.rng import preserved_rng, seed_everything

NUM_STEPS = 100
START_LR = 1e-7

Peer = Callable[[Workload, int], tuple[float | None, int]]  # (workload, seed) -> (LR or None, optimizer steps)


class _Losses(nn.Module):
    """The workload's model and loss as one module: batches of a step -> their mean loss."""

    def __init__(self, workload: Workload, model: nn.Module) -> None:
        super().__init__()
        self.model, self.loss = model, workload.loss

    def forward(self, batches: list[Any]) -> torch.Tensor:
        """See the class."""
        return torch.stack([self.loss(self.model, batch) for batch in batches]).mean()


class _Steps:
    """Passes over the training data, as (batches of one step, nothing); every pass draws its own order."""

    def __init__(self, workload: Workload) -> None:
        self._data, self._accumulate = workload.train_data(), workload.accumulate

    def __len__(self) -> int:
        return len(self._data) // self._accumulate

    def __iter__(self) -> Iterator[tuple[list[Any], torch.Tensor]]:
        batches = iter(self._data)
        for _ in range(len(self)):
            yield [next(batches) for _ in range(self._accumulate)], torch.zeros(1)


def _as_it_is(loss: torch.Tensor, nothing: torch.Tensor) -> torch.Tensor:
    """The criterion: the module's output is the loss already."""
    return loss


@dataclass
class _Live:
    """What a tool is given, and the number of optimizer steps it has taken."""

    module: _Losses
    optimizer: torch.optim.Optimizer
    steps: _Steps
    taken: int = 0

    @classmethod
    def of(cls, workload: Workload, seed: int) -> _Live:
        """New weights and batches, from the seed as in a training; the first group's own LR is `START_LR`."""
        seed_everything(seed)
        model, optimizer = workload.build()
        set_lr(optimizer, START_LR, group_ratios(optimizer))
        live = cls(_Losses(workload, model), optimizer, _Steps(workload))
        seed_everything(seed)
        optimizer.register_step_pre_hook(lambda *_: live.clip(workload.clip_norm))
        optimizer.register_step_post_hook(lambda *_: live.count())
        return live

    def clip(self, norm: float | None) -> None:
        """Before a step: clip the gradients, where the workload does."""
        if norm is not None:
            nn.utils.clip_grad_norm_(held_tensors(self.optimizer.param_groups), norm)

    def count(self) -> None:
        """One more step."""
        self.taken += 1


def _asked(find: Callable[[_Live], float | None], workload: Workload, seed: int) -> tuple[float | None, int]:
    """The tool's suggestion; None where it has none, fails, or gives no positive number."""
    with preserved_rng(workload.torch_device), _quiet():
        live = _Live.of(workload, seed)
        try:
            lr = find(live)
        except ImportError:
            raise
        except Exception:  # too few points, an unexpected shape of the curve, ...
            lr = None
    return (lr if lr is not None and math.isfinite(lr) and lr > 0 else None), live.taken


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, messages and warnings of the tools."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(before)


def _torch_lr_finder(live: _Live) -> float | None:
    """The steepest gradient, which it tells only by drawing."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot
    from torch_lr_finder import LRFinder, TrainDataLoaderIter

    finder = LRFinder(live.module, live.optimizer, _as_it_is, device="cpu")
    finder.range_test(TrainDataLoaderIter(live.steps), num_iter=NUM_STEPS)
    figure, ax = pyplot.subplots()
    try:
        return float(finder.plot(ax=ax)[1])
    finally:
        pyplot.close(figure)


def _ignite(live: _Live) -> float | None:
    from ignite.engine import Engine
    from ignite.handlers import FastaiLRFinder

    def update(engine: Engine, step: Any) -> float:
        live.module.train()
        live.optimizer.zero_grad()
        loss = live.module(step[0])
        loss.backward()
        live.optimizer.step()
        return float(loss.item())

    finder, saved = FastaiLRFinder(), {"model": live.module, "optimizer": live.optimizer}
    with finder.attach(Engine(update), to_save=saved, num_iter=NUM_STEPS) as trainer:
        trainer.run(live.steps)
    lr = finder.lr_suggestion()
    return float(lr[0] if isinstance(lr, list) else lr)


def _lightning(live: _Live) -> float | None:
    import lightning.pytorch as pl
    from lightning.pytorch.tuner import Tuner

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.losses = live.module

        def training_step(self, step: Any, index: int) -> torch.Tensor:
            return self.losses(step[0])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return live.optimizer

    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=folder, max_epochs=-1,
        )  # fmt: skip
        found = Tuner(trainer).lr_find(Module(), live.steps, num_training=NUM_STEPS, update_attr=False)
        return found.suggestion()


FASTAI_RULES = ("valley", "slide", "minimum", "steep")


@lru_cache(maxsize=1)
def _fastai_sweep(workload: Workload, seed: int) -> tuple[dict[str, float | None], int]:
    """One ramp, read by each of its rules. Returns: rule -> LR, and the steps taken."""
    found: dict[str, float | None] = {}

    def sweep(live: _Live) -> None:
        from fastai.callback import schedule
        from fastai.data.core import DataLoaders
        from fastai.learner import Learner
        from fastai.optimizer import OptimWrapper

        with tempfile.TemporaryDirectory() as folder:
            learner = Learner(
                DataLoaders(live.steps, live.steps), live.module, loss_func=_as_it_is,
                opt_func=OptimWrapper(opt=live.optimizer), path=folder,
            )  # fmt: skip
            rules = [partial(_none_if_fails, getattr(schedule, rule)) for rule in FASTAI_RULES]
            named = [_named(rule, name) for rule, name in zip(rules, FASTAI_RULES, strict=True)]
            with learner.no_bar():
                lrs = learner.lr_find(num_it=NUM_STEPS, show_plot=False, suggest_funcs=named)
            found.update(lrs._asdict())

    _, steps = _asked(sweep, workload, seed)
    return found, steps


def _none_if_fails(rule: Callable[..., Any], *curve: Any) -> tuple[float | None, Any]:
    """A rule's suggestion, so that one that fails takes no other with it."""
    try:
        return rule(*curve)
    except Exception:
        return None, None


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The same function; fastai names a suggestion after the function it came from."""

    def call(*curve: Any) -> Any:
        return function(*curve)

    call.__name__ = name
    return call


def _fastai(rule: str, workload: Workload, seed: int) -> tuple[float | None, int]:
    found, steps = _fastai_sweep(workload, seed)
    lr = found.get(rule)
    return (float(lr) if lr is not None and math.isfinite(lr) and lr > 0 else None), steps


PEERS: dict[str, Peer] = {
    "torch-lr-finder": partial(_asked, _torch_lr_finder),
    "ignite": partial(_asked, _ignite),
    "lightning": partial(_asked, _lightning),
    **{f"fastai {rule}": partial(_fastai, rule) for rule in FASTAI_RULES},
}

PACKAGES = {
    "torch-lr-finder": "torch_lr_finder",
    "pytorch-ignite": "ignite.handlers",
    "lightning": "lightning.pytorch",
    "fastai": "fastai.learner",
}


def versions() -> dict[str, str]:
    """Package -> version, or why it is missing."""
    found = {}
    for package, module in PACKAGES.items():
        try:
            with _quiet():
                importlib.import_module(module)
            found[package] = importlib.metadata.version(package)
        except ImportError as error:
            found[package] = f"missing ({error})"
    return found
