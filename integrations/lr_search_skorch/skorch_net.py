"""What of a net the callbacks need."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from lr_search.errors import MissingPackageError


def require_skorch() -> None:
    """Import skorch. Raises: MissingPackageError: it is not installed."""
    try:
        importlib.import_module("skorch")
    except ImportError as error:
        raise MissingPackageError('lr_search_skorch needs skorch: pip install "lr-search[skorch]".') from error


def optimizers_of(net: Any) -> list[torch.optim.Optimizer]:
    """The net's optimizers, of which it usually has one."""
    return [getattr(net, f"{name}_") for name in net._optimizers]


def modules_of(net: Any) -> nn.ModuleList:
    """The net's modules and criteria as one module, whose parameters are all that its optimizers may hold."""
    held = [getattr(net, f"{name}_") for name in [*net._modules, *net._criteria]]
    return nn.ModuleList(module for module in held if isinstance(module, nn.Module))


def training_batches(net: Any, X: Any, y: Any) -> Any:
    """The loader of the training data that `fit(X, y)` walks through, made once more."""
    dataset, _ = net.get_split_datasets(X, y)
    return net.get_iterator(dataset, training=True)
