"""Optimizers by name, their default learning rates, and the rules that some of them come with.

References:
    NAdam: Dozat, "Incorporating Nesterov Momentum into Adam", 2016, ICLR workshop.
    RAdam: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020, arXiv:1908.03265.
    Adafactor: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018, arXiv:1804.04235.
    Lion and Muon: see `lion` and `muon`, beside this file.
    Prodigy: Mishchenko and Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", 2024, arXiv:2306.06101.
    Schedule-Free: Defazio et al., "The Road Less Scheduled", 2024, arXiv:2405.15682.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from lr_search.errors import MissingPackageError, require, unknown_name
from lr_search.kinds.checked import checked
from lr_search.kinds.printable_names import require_name

if TYPE_CHECKING:
    import torch

OptimizerFactory = Annotated[  # (params, lr=...) -> Optimizer
    Callable[..., "torch.optim.Optimizer"],
    "Pass a class, or a function of (params, lr=...) that makes one: torch.optim.Adam, functools.partial(torch.optim.SGD, momentum=0.9).",
]
_Maker = Callable[..., "torch.optim.Optimizer | Sequence[torch.optim.Optimizer]"]
OptimizerForms = Annotated[
    _Maker | Sequence[_Maker],  # (params, lr=...) -> Optimizer; (model, lr) -> one or several
    "Pass a class, or a function of (params, lr=...) that makes one: torch.optim.Adam, functools.partial(torch.optim.SGD, momentum=0.9); "
    "or a function of (model, lr), or a list of them.",
]
NamedOptimizers = Annotated[
    str | Sequence[str] | Mapping[str, str | OptimizerForms], "Such as ['adam', 'sgd'], or {'mine': torch.optim.SGD}."
]


@checked
@dataclass(frozen=True)
class Rules:
    """How an optimizer wants to be used, by its authors.

    Args:
        searched: whether its LR is to be searched; if not, it keeps its default and one training a study is enough.
        schedules: the names of those it may be trained under; None for any.
    """

    searched: bool = True
    schedules: tuple[str, ...] | None = None


RULES: dict[str, Rules] = {
    # "leave LR set to 1"; "either no scheduler or cosine annealing", without restarts
    "prodigyopt": Rules(searched=False, schedules=("constant", "cosine")),
    # the LR is tuned as usual, and stays where it is
    "schedulefree": Rules(schedules=("constant",)),
}
"""The rules by package, module or class, such as "prodigyopt" or "my_package.optim.Mine"; add your own."""


@dataclass(frozen=True)
class _Home:
    """Where an optimizer comes from.

    Args:
        package: that has the class.
        kind: the class.
        settings: those that are not its defaults.
        remark: what to know before it is used.
        needs: of `torch.optim`, and the version of torch that brings it; empty where every version has it.
    """

    package: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    remark: str = "with its defaults"
    needs: tuple[str, str] | tuple[()] = ()

    def describe(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        needs = f"torch>={self.needs[1]}" if self.needs else ""
        return ", ".join(part for part in (f"{self.package}.{self.kind}", settings, self.remark, needs) if part)


_EXTRA = 'pip install "lr-search[lr-free]"'
_RELATIVE = "steps by min(LR, 1/sqrt(step)) of the size of the weights"
_HOMES = {
    "sgd": _Home("torch.optim", "SGD", {"momentum": 0.9}, "else its defaults"),
    "adam": _Home("torch.optim", "Adam"),
    "adamw": _Home("torch.optim", "AdamW"),
    "rmsprop": _Home("torch.optim", "RMSprop"),
    "adagrad": _Home("torch.optim", "Adagrad"),
    "nadam": _Home("torch.optim", "NAdam"),
    "radam": _Home("torch.optim", "RAdam"),
    "adafactor": _Home("torch.optim", "Adafactor", remark=_RELATIVE, needs=("Adafactor", "2.5")),
    "lion": _Home("lr_search.optimizers.lion", "Lion", remark="its best LR is a third to a tenth of AdamW's"),
    "muon": _Home("lr_search.optimizers.muon", "MuonAdamW", remark="AdamW for what is not 2-D", needs=("Muon", "2.9")),
    "prodigy": _Home("prodigyopt", "Prodigy", remark=f"finds its LR itself ({_EXTRA})"),
    "schedule_free": _Home("schedulefree", "AdamWScheduleFree", remark=f"averages in place of a schedule ({_EXTRA})"),
    "schedule_free_sgd": _Home("schedulefree", "SGDScheduleFree", remark=f"likewise ({_EXTRA})"),
}

NAMES: dict[str, str] = {name: home.describe() for name, home in _HOMES.items()}
"""Every optimizer that `by_name` knows, and what it is."""


@checked
def by_name(name: str) -> OptimizerFactory:
    """The optimizer of that name, with its authors' default settings.

    Args:
        name: one of `NAMES`.

    Returns:
        (params, lr=...) -> Optimizer: a class, or a `functools.partial` of one.

    Raises:
        UnknownNameError: there is none of that name.
        MissingPackageError: it is in a package that is not installed, or in a later version of torch.

    >>> by_name("adam")
    <class 'torch.optim.adam.Adam'>
    """
    if name not in NAMES:
        raise unknown_name("optimizer", name, NAMES)
    home = _HOMES[name]
    if home.needs:
        _require_torch(name, *home.needs)
    try:
        kind: OptimizerFactory = getattr(importlib.import_module(home.package), home.kind)
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"The optimizer {name!r} needs {home.package}: {_EXTRA}.") from error
    return partial(kind, **home.settings) if home.settings else kind


def _require_torch(name: str, kind: str, version: str) -> None:
    torch = importlib.import_module("torch")
    if not hasattr(torch.optim, kind):
        raise MissingPackageError(
            f"The optimizer {name!r} needs torch>={version}, which brings torch.optim.{kind}, but got torch {torch.__version__}: "
            f'pip install "torch>={version}".'
        )


def resolve_optimizers(optimizers: NamedOptimizers) -> dict[str, OptimizerForms]:
    """The optimizers a user named: names, or name -> name, (params, lr=...) -> Optimizer, or another of a workload's forms.

    Raises:
        UnknownNameError: no optimizer has that name.
        InvalidInputError: nothing is named, something twice, or a value is neither.
    """
    rule = "optimizers must be names, or map names to (params, lr=...) -> Optimizer (or to a name), or be None"
    named = [optimizers] if isinstance(optimizers, str) else optimizers
    if not isinstance(named, Mapping):
        valid = isinstance(named, Sequence) and len(named) > 0 and all(isinstance(name, str) for name in named)
        require(valid, rule, optimizers=optimizers)
        require(len(set(named)) == len(named), "optimizers must differ in name", optimizers=named)
        named = dict(zip(named, named, strict=True))
    valid = len(named) > 0 and all(isinstance(value, str | list | tuple) or callable(value) for value in named.values())
    require(valid, rule, optimizers=optimizers)
    for name in named:
        require_name("an optimizer's name", name)
    return {str(name): by_name(value) if isinstance(value, str) else value for name, value in named.items()}


@checked
def rules_of(kind: type[torch.optim.Optimizer] | None) -> Rules:
    """The rules of a class of optimizers: those registered for it, or for the nearest class it is derived from.

    >>> import torch
    >>> rules_of(torch.optim.Adam)
    Rules(searched=True, schedules=None)
    """
    for base in () if kind is None else kind.__mro__:
        path = f"{base.__module__}.{base.__qualname__}."
        keys = [key for key in RULES if path.startswith(f"{key}.")]
        if keys:
            return RULES[max(keys, key=len)]
    return Rules()


@checked
def default_lr(factory: Callable[..., Any], kind: type | None = None) -> float | None:
    """The LR an optimizer has when its user gives none; None where there is none.

    That is the `lr` of the factory's signature, in which a `functools.partial` has its `lr` too; else that of the class.

    Args:
        factory: (params, lr=...) -> Optimizer.
        kind: the class of what it makes.

    >>> import torch
    >>> default_lr(torch.optim.Adagrad), default_lr(partial(torch.optim.Adagrad, lr=0.5))
    (0.01, 0.5)
    """
    for function in (factory, kind):
        lr = None if function is None else _lr_in_signature(function)
        if lr is not None:
            return lr
    return None


def _lr_in_signature(function: Callable[..., Any]) -> float | None:
    try:
        lr = float(inspect.signature(function).parameters["lr"].default)
    except (KeyError, TypeError, ValueError):  # no such argument, no default, or no number; or no signature at all
        return None
    return lr if lr > 0 and math.isfinite(lr) else None
