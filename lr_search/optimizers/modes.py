"""Optimizers with a train and an eval mode (Schedule-Free): they step on one set of weights, and are judged on another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class Modes:
    """Switches those optimizers that have callable `train()` and `eval()`; does nothing for all others.

    Schedule-Free's own way to the averaged weights and back again rounds: up to a third of the weights come back with another
    last bit. So the trained weights are kept aside meanwhile and put back: how often a training is looked at does not
    change it.

    Args:
        model: the module that is trained.
        optimizers: all of its optimizers.
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._switched = [o for o in optimizers if _switches(o)]
        held = [p for o in self._switched for group in o.param_groups for p in group["params"]]
        # the running statistics belong to the weights they were gathered with
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if held else []
        self._tensors = [*held, *(buffer for norm in norms for buffer in norm.buffers())]
        self._stepping: bool | None = None  # None: not switched yet
        self.kept: list[torch.Tensor] | None = None  # what is trained, while the averaged weights are in its place

    def train(self) -> None:
        """Before a step: the weights that are trained."""
        if not self._switched or self._stepping:
            return
        for optimizer in self._switched:
            optimizer.train()  # type: ignore[attr-defined]
        if self.kept is not None:
            _copy(self._tensors, self.kept)
        self._stepping, self.kept = True, None

    def eval(self) -> None:
        """Outside the steps: the averaged weights."""
        if not self._switched or self._stepping is False:
            return
        if self._stepping:
            self.kept = [tensor.detach().clone() for tensor in self._tensors]
        for optimizer in self._switched:
            optimizer.eval()  # type: ignore[attr-defined]
        self._stepping = False

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """Inside, steps may be taken; afterwards, whatever happens, the weights are the averaged ones."""
        try:
            yield
        finally:
            self.eval()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Between two steps: inside, the weights are the averaged ones; afterwards they are as they were."""
        stepping = self._stepping
        self.eval()
        try:
            yield
        finally:
            if stepping:
                self.train()

    def load(self, kept: list[torch.Tensor] | None) -> None:
        """Go on from a state that was saved outside the steps: `kept` as it was then."""
        self._stepping, self.kept = (None, None) if kept is None else (False, list(kept))


def _switches(optimizer: torch.optim.Optimizer) -> bool:
    return callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None))


def _copy(targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]) -> None:
    with torch.no_grad():
        for target, source in zip(targets, sources, strict=True):
            target.copy_(source)
