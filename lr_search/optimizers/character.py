"""What kind of optimizer it is, measured on one weight whose gradient never changes.

Whether its steps grow with the gradient, how much its momentum adds up to, or would, and whether its steps fade at the same LR: four
numbers that a range test's hundred noisy steps tell less clearly.
"""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from lr_search.errors import user_code
from lr_search.rng import preserved_rng

_STEPS = 400
EARLY = 100  # what has not settled by then fades for good
GRADIENT, FACTOR = 0.01, 10.0
CYCLED = 0.9  # the momentum about which one_cycle moves it
SMALL_LR = 1e-4  # at which the weight hardly moves
_known: dict[tuple[type, str], dict[str, float]] = {}  # each kind of optimizer is tried once
IGNORED = {"params", "lr", "initial_lr", "weight_decay", "maximize", "capturable", "differentiable", "fused", "foreach"}


def character(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """How the optimizer behaves under a constant gradient; empty where it cannot be made anew from its settings.

    Args:
        optimizer: of any kind; it is not touched: another of its class is made, with the settings of its first group.

    Returns:
        "scaling": the power of the gradient that its step grows with: 1 for SGD, 0 for Adam, Adagrad and Lion;
        "gain": log10 of its step over LR x gradient^scaling, after 100 steps: 0 for SGD and Adam, 1 for a momentum of 0.9;
        "fade": the slope of log(step) per decade of steps from the 100th to the 400th: 0 for most, -1/2 for Adagrad;
        "cycled": decades by which its step grows under a momentum of 0.9, about which one_cycle moves it: 1 for plain SGD, 0 for most.

    >>> parameter = torch.nn.Parameter(torch.zeros(3))
    >>> {name: round(value, 2) for name, value in character(torch.optim.SGD([parameter], lr=3.0, momentum=0.9)).items()}
    {'scaling': 1.0, 'gain': 1.0, 'fade': 0.0, 'cycled': 0.0}
    """
    takes = inspect.signature(type(optimizer)).parameters  # what else is in a group, the optimizer counts there
    settings = {name: value for name, value in optimizer.param_groups[0].items() if name in takes.keys() - IGNORED}
    key = (type(optimizer), repr(sorted(settings.items(), key=str)))
    if key not in _known:
        with preserved_rng(torch.device("cpu")), warnings.catch_warnings(action="ignore"):
            _known[key] = _found(type(optimizer), settings)
    return dict(_known[key])


def _found(kind: type[torch.optim.Optimizer], settings: Mapping[str, Any]) -> dict[str, float]:
    found = _found_at(1.0, kind, settings)
    if found.get("fade", 0.0) > 1:  # the steps grow with the weight that they have moved, as Adafactor's do
        found = _found_at(SMALL_LR, kind, settings)
    cycled = _found_at(1.0, kind, {**settings, "momentum": CYCLED}) if "momentum" in settings else found
    return {**found, "cycled": cycled.get("gain", 0.0) - found["gain"]} if found else {}


def _found_at(lr: float, kind: type[torch.optim.Optimizer], settings: Mapping[str, Any]) -> dict[str, float]:
    small = _steps_or_none(lr, kind, settings, GRADIENT, _STEPS)
    large = _steps_or_none(lr, kind, settings, FACTOR * GRADIENT, EARLY)
    if small is None or large is None:
        return {}
    if not all(step > 0 and math.isfinite(step) for step in (*small, *large)):
        return {}
    scaling = math.log10(large[0] / small[0]) / math.log10(FACTOR)
    return {
        "scaling": scaling,
        "gain": math.log10(small[0]) - scaling * math.log10(GRADIENT),
        "fade": math.log10(small[-1] / small[0]) / math.log10(_STEPS / EARLY),
    }


def _steps_or_none(
    lr: float, kind: type[torch.optim.Optimizer], settings: Mapping[str, Any], gradient: float, steps: int
) -> list[float] | None:
    for sparse in (False, True):
        try:
            with user_code:
                return _steps(lr, kind, settings, gradient, steps, sparse=sparse)
        except Exception:  # it wants sparse gradients, a closure, other arguments, or parameters of another shape
            continue
    return None


def _steps(
    lr: float,
    kind: type[torch.optim.Optimizer],
    settings: Mapping[str, Any],
    gradient: float,
    steps: int,
    *,
    sparse: bool,
) -> list[float]:
    """The sizes of the steps number 100 and `steps`, over the LR."""
    weight = torch.nn.Parameter(torch.zeros(1, 1, dtype=torch.float64))
    full = torch.full_like(weight, gradient)
    weight.grad = full.to_sparse(1) if sparse else full
    construct: Any = kind
    optimizer = construct([weight], lr=lr)
    if callable(getattr(optimizer, "train", None)):
        optimizer.train()
    group = optimizer.param_groups[0]
    group.update(copy.deepcopy(dict(settings)))
    if "weight_decay" in group:
        group["weight_decay"] = 0.0
    sizes: list[float] = []
    for step in range(1, steps + 1):
        before = weight.detach().clone() if step in (EARLY, steps) else None
        optimizer.step()
        if before is not None:
            sizes.append(float((weight.detach() - before).abs()) / lr)
    return sizes
