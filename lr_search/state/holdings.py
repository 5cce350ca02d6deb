"""What an object holds: its attributes, and what stands in its containers. Which objects are looked into, and which are left alone."""

from __future__ import annotations

import copyreg
import functools
import random
import sys
import types
from collections import UserDict, UserList, deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

CONTAINERS = (dict, list, tuple, set, frozenset, deque)
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
# they hold data, programs or what was already shown to a person; a loss changes none of them for the steps after
_LEFT_ALONE = (
    Dataset, DataLoader, Sampler, Iterator, type, types.ModuleType, types.FunctionType, types.MethodType,
    types.BuiltinFunctionType, functools.partial, BaseException,
)  # fmt: skip
_APART = sys.stdlib_module_names | {
    "builtins", "torch", "numpy", "pandas", "pyarrow", "datasets", "PIL", "matplotlib", "tqdm", "rich", "tensorboard",
    "tensorboardX", "wandb", "mlflow", "neptune", "comet_ml", "clearml", "aim", "ray", "optuna",
}  # fmt: skip
_TORCH = ("torch.optim", "torch.amp", "torch.cuda.amp", "torch.nn", "torch.ao")  # of torch: what trains
_LAYERS = ("_parameters", "_buffers", "_modules")
_NAMESPACES = (types.SimpleNamespace, UserDict, UserList)  # of Python: what holds a user's values


def is_looked_into(value: Any) -> bool:
    """Whether what an object holds belongs to the training: modules, optimizers, containers, objects of the user's classes."""
    if isinstance(value, (nn.Module, torch.optim.Optimizer, *CONTAINERS, *_NAMESPACES)):
        return True
    if isinstance(value, _LEFT_ALONE):
        return False
    if type(value).__module__.startswith(_TORCH):
        return True
    return not is_apart(value) and (hasattr(value, "__dict__") or bool(copyreg._slotnames(type(value))))  # type: ignore[attr-defined]


def is_apart(value: Any) -> bool:
    """Whether it is of Python, torch or another package that keeps nothing a training needs, not of the user's code."""
    if isinstance(value, (types.MethodType, functools.partial, *CONTAINERS)):
        return False
    origin = value.__module__ if isinstance(value, types.FunctionType) else type(value).__module__
    return (origin or "").partition(".")[0] in _APART


def attributes(owner: Any) -> dict[str, Any]:
    """An object's own attributes, of its slots too; only the numbers and the layers where `is_machinery`."""
    held = dict(getattr(owner, "__dict__", {}))
    for name in copyreg._slotnames(type(owner)):  # type: ignore[attr-defined]
        if hasattr(owner, name):
            held[name] = getattr(owner, name)
    if is_machinery(owner):
        return {name: value for name, value in held.items() if name in _LAYERS or type(value) in (bool, int, float)}
    return held


def is_machinery(owner: Any) -> bool:
    """Whether it spreads a model over processes: what it sets up in the first pass it sets up once."""
    return isinstance(owner, nn.parallel.DistributedDataParallel) or type(owner).__module__.startswith("torch.dist")


def set_attribute(owner: Any, name: str, value: Any) -> None:
    """Past whatever the class does when it is assigned to."""
    if name in getattr(owner, "__dict__", {}) or not hasattr(type(owner), name):
        vars(owner)[name] = value
    else:
        object.__setattr__(owner, name, value)


def holdings(value: Any) -> Iterator[tuple[str, Any]]:
    """Each thing that it holds, with the words that lead there: `.name`, `[3]`."""
    if isinstance(value, torch.Tensor):
        if value.is_leaf and value.grad is not None:
            yield ".grad", value.grad
        if isinstance(value, nn.Parameter):
            yield from ((f".{name}", item) for name, item in vars(value).items())
    elif isinstance(value, np.ndarray | torch.Generator):
        return
    elif isinstance(value, dict):
        for key, item in list(value.items()):
            yield f".{key}" if isinstance(key, str) else f"[{key}]" if isinstance(key, int) else "[...]", item
            yield "[key]", key
    elif isinstance(value, CONTAINERS):
        yield from ((f"[{index}]", item) for index, item in enumerate(list(value)))
    if is_looked_into(value) and (hasattr(value, "__dict__") or not isinstance(value, CONTAINERS)):
        for name, item in attributes(value).items():
            yield "" if name in _LAYERS else f".{name}", item
