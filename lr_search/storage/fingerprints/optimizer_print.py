"""The print of an optimizer as it was built: its class, its settings, and what its parameter groups hold and set otherwise."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lr_search.optimizers.param_groups import Optimizers, as_list, group_ratios
from lr_search.optimizers.param_groups import groups as held_groups
from lr_search.plain import plain_value
from lr_search.storage.fingerprints.prints import value_print

_SPEED = {"foreach", "fused", "capturable", "differentiable"}  # how it is computed, not what
_MOST_GROUPS = 32  # in words; the rest share one print


def optimizer_print(model: nn.Module | None, optimizers: Optimizers) -> dict[str, Any]:
    """What JSON takes: `class`, `settings`, `groups`, and `more_groups` where there are many.

    Args:
        model: whose parameters they hold; None: not known.
        optimizers: as they were built; of several, all settings are told by group.
    """
    several = as_list(optimizers)
    alone = several[0] if len(several) == 1 else None
    defaults = {} if alone is None else alone.defaults
    names = {id(parameter): name for name, parameter in (() if model is None else model.named_parameters())}
    settings = {name: plain_value(value) for name, value in defaults.items() if name not in {"lr", *_SPEED}}
    groups = [
        {**_held(group["params"], names), "lr_ratio": float(f"{ratio:.6g}"), **_own(group, settings)}
        for group, ratio in zip(held_groups(optimizers), group_ratios(optimizers), strict=True)
    ]
    rest = groups[_MOST_GROUPS:]
    more = {"more_groups": [len(rest), value_print(rest)]} if rest else {}
    return {
        "class": " and ".join(type(each).__name__ for each in several),
        "settings": {**({} if alone is None else _attributes(alone)), **settings},
        "groups": groups[:_MOST_GROUPS],
    } | more


def _held(parameters: list[torch.Tensor], names: dict[int, str]) -> dict[str, Any]:
    held = [[names.get(id(each), ""), list(each.shape)] for each in parameters]
    return {"tensors": len(held), "numbers": sum(each.numel() for each in parameters), "which": value_print(held)[0]}


def _own(group: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What a group sets otherwise than the optimizer's defaults."""
    left_out = {"params", "lr", "initial_lr", "param_names", *_SPEED}
    values = {name: plain_value(value) for name, value in group.items() if name not in left_out}
    return {name: value for name, value in values.items() if name not in settings or settings[name] != value}


def _attributes(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Settings that a class keeps beside its defaults, such as a wrapper's."""
    plain_types = bool | int | float | str
    return {
        name: plain_value(value)
        for name, value in vars(optimizer).items()
        if not name.startswith("_")
        and name not in {"defaults", "state", "param_groups"}
        and isinstance(value, plain_types)
    }
