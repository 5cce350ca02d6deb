"""How an optimizer is made again, as a record that JSON takes."""

from __future__ import annotations

import inspect
import math
import sys
from typing import Any

import numpy as np
import torch
from torch import nn

from lr_search.optimizers.param_groups import Optimizers, as_list, group_ratios


def optimizer_call(optimizers: Optimizers, model: nn.Module | None = None, made_by: str = "") -> dict[str, Any]:
    """How an optimizer is made again: its class and those of its settings that are not the class's defaults.

    Args:
        optimizers: as built, before a schedule moved an LR or momentum; of several the first is told, and the groups of all. With one
            parameter group that group's settings are read, with several the optimizer's defaults, which are those of the groups
            that set none.
        model: whose parameters it trains; without it one group is taken for all of them.
        made_by: the user's function of (model, lr) that made it, by name.

    Returns:
        What JSON takes: `class`, the shortest path to it; `module`, the part of the path to import from; `settings` without
        `lr`; `groups`, the ratio of each parameter group's LR to the first's, and the settings that differ from the optimizer's
        (none where it trains the model's parameters as they come); `momentum`, whether it has a momentum or betas; `modes`,
        whether it has `train()` and `eval()`; `left_out`, the names of the settings that cannot be read or are no plain values;
        where a function of the model made it, `made_by`, and `several`, how many optimizers that made.

    Raises:
        InvalidInputError: the first group's LR is not above 0.

    >>> layers = [{"params": [torch.zeros(1)]}, {"params": [torch.ones(1)], "lr": 0.05, "weight_decay": 0.0}]
    >>> call = optimizer_call(torch.optim.AdamW(layers, lr=0.1, weight_decay=0.3))
    >>> call["class"], call["settings"]
    ('torch.optim.AdamW', {'weight_decay': 0.3})
    >>> call["groups"]
    [{'ratio': 1.0, 'settings': {}}, {'ratio': 0.5, 'settings': {'weight_decay': 0.0}}]
    """
    several = as_list(optimizers)
    optimizer = several[0]
    kind, held = type(optimizer), optimizer.param_groups
    values = {**optimizer.defaults, **(held[0] if len(held) == 1 else {})}
    settings, left_out = {}, []
    for name, parameter in _settable(kind).items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:  # passed on, so that their defaults are not known
            left_out += [key for key in optimizer.defaults if key not in _settable(kind) and key != "lr"]
        elif name not in values:
            left_out.append(name)
        elif not _same(values[name], parameter.default):
            plain = _plain(values[name])
            if plain is _NOT_PLAIN:
                left_out.append(name)
            else:
                settings[name] = plain
    module = _module(kind)
    groups = _groups(optimizer, values, left_out) if _are_own(held, model) else []
    if len(several) > 1:
        groups = [{"ratio": ratio, "settings": {}} for ratio in group_ratios(several)]
    made = {"made_by": made_by, "several": len(several)} if made_by else {}
    return {
        "class": f"{module}.{kind.__qualname__}",
        "module": module,
        "settings": settings,
        "groups": groups,
        "momentum": "momentum" in optimizer.defaults or "betas" in optimizer.defaults,
        "modes": all(callable(getattr(optimizer, name, None)) for name in ("train", "eval")),
        "left_out": left_out,
    } | made


def _are_own(groups: list[dict[str, Any]], model: nn.Module | None) -> bool:
    """Whether the parameter groups are anything but one of all the model's parameters."""
    if len(groups) > 1 or model is None:
        return len(groups) > 1
    trained, every = ([id(parameter) for parameter in each] for each in (groups[0]["params"], model.parameters()))
    return trained != every


def _groups(optimizer: torch.optim.Optimizer, values: dict[str, Any], left_out: list[str]) -> list[dict[str, Any]]:
    """Each group's own settings; those that are no plain values are added to what is left out."""
    groups = []
    for number, (group, ratio) in enumerate(zip(optimizer.param_groups, group_ratios(optimizer), strict=True), start=1):
        own = {name: value for name, value in group.items() if name in optimizer.defaults and name != "lr"}
        own = {name: _plain(value) for name, value in own.items() if not _same(value, values[name])}
        left_out += [f"{name} of group {number}" for name, value in own.items() if value is _NOT_PLAIN]
        settings = {name: value for name, value in own.items() if value is not _NOT_PLAIN}
        groups.append({"ratio": ratio, "settings": settings})
    return groups


_NOT_PLAIN = object()


def _settable(kind: type) -> dict[str, inspect.Parameter]:
    """The arguments of a class beside the parameters, which come first, and the LR."""
    parameters = dict(list(inspect.signature(kind).parameters.items())[1:])
    return {n: p for n, p in parameters.items() if n != "lr" and p.kind is not inspect.Parameter.VAR_POSITIONAL}


def _same(value: Any, default: Any) -> bool:
    plain, plain_default = _plain(value), _plain(default)
    if plain is _NOT_PLAIN or plain_default is _NOT_PLAIN:
        return value is default or (isinstance(value, float) and value == default)  # inf is not plain
    return bool(plain == plain_default)


def _plain(value: Any) -> Any:
    """A value as JSON takes it: tuples become lists, tensors and NumPy's numbers of one element Python's."""
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        value = value.item() if math.prod(value.shape) == 1 else _NOT_PLAIN
    if isinstance(value, float) and not math.isfinite(value):
        return _NOT_PLAIN  # JSON has no word for it
    return value if value is None or isinstance(value, bool | int | float | str) else _NOT_PLAIN


def _module(kind: type) -> str:
    """The shortest of the packages around a class that has it under its name."""
    parts = kind.__module__.split(".")
    for length in range(1, len(parts)):
        package = ".".join(parts[:length])
        if getattr(sys.modules.get(package), kind.__qualname__, None) is kind:
            return package
    return kind.__module__
