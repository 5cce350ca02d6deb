"""The forms of a workload's optimizer and loss: made of the parameters or of the model, one or several."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lr_search.errors import InvalidInputError, WorkloadError, error_text, require
from lr_search.kinds.functions import require_takes
from lr_search.optimizers.names import OptimizerFactory
from lr_search.optimizers.param_groups import Optimizers, as_list, foreign
from lr_search.workloads.forms import as_loss, name_of
from lr_search.workloads.parts import Loss

PROBE_LR = 1e-3  # the LR an optimizer is built with; every step sets its own
_PARAMETERS = {"groups", "weights", "tensors", "ps", "p"}  # and whatever has "param" in it
_SEVERAL = (
    "Several optimizers must each be made of the model, by a function of (model, lr), so that each takes the parameters that are "
    "its own, but got {name}. Write lambda model, lr: torch.optim.Adam(model.generator.parameters(), lr)."
)


@dataclass(frozen=True)
class ModelOptimizers:
    """Functions of (model, lr) that each make an optimizer, or several: all that a model is trained by, in their order."""

    in_turn: tuple[Callable[..., Any], ...]

    def __call__(self, model: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
        """The optimizers. Raises: WorkloadError: a function returns something else, or takes the model for its parameters."""
        made: list[torch.optim.Optimizer] = []
        for make in self.in_turn:
            try:
                given = make(model, **{_second(make): lr}) if _second(make) else make(model, lr)
            except (TypeError, AttributeError) as error:
                raise WorkloadError(
                    f"optimizer(model, lr) must return the optimizer of the model, but {name_of(make)} raised {error_text(error)}. A "
                    "function with two required arguments is given the model; call the first `params` to be given its parameters."
                ) from error
            several = list(given) if isinstance(given, list | tuple) else [given]
            if not several or not all(isinstance(each, torch.optim.Optimizer) for each in several):
                came = ", ".join(type(each).__name__ for each in several) or "an empty list"
                raise WorkloadError(
                    f"optimizer(model, lr) must return a torch.optim.Optimizer, or a list of them, but got {came}."
                )
            made += several
        return made


@dataclass(frozen=True)
class LossesInTurn:
    """The losses of a training that has an optimizer for each; called, their sum."""

    in_turn: tuple[Loss, ...]

    def __call__(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """The sum of the losses."""
        total: torch.Tensor = functools.reduce(operator.add, (loss(model, batch) for loss in self.in_turn))
        return total


def as_optimizer(given: Any, param_groups: Any) -> Any:
    """(params, lr=float) -> Optimizer as it came; `ModelOptimizers` of a function of (model, lr), or of a list of them.

    Which of the two a function is, its first argument's name tells: `params`, or a word like it, is the parameters.

    Args:
        given: by the user.
        param_groups: of the workload, which no function of the model may be given beside.

    Raises:
        InvalidInputError: it takes other arguments.
    """
    several = list(given) if isinstance(given, list | tuple) else None
    if several is not None:
        require(len(several) > 0, "optimizer must be a function, or a list of at least one", got=given)
        for each in several:
            if not takes_model(each):
                raise InvalidInputError(_SEVERAL.format(name=name_of(each)))
        made = ModelOptimizers(tuple(several))
    elif isinstance(given, ModelOptimizers):
        made = given
    elif takes_model(given):
        made = ModelOptimizers((given,))
    else:
        require_takes("optimizer", given, "params", lr=PROBE_LR)
        return given
    require(
        param_groups is None,
        "param_groups must be None where the optimizer is made of the model",
        "Make the groups in the optimizer's function; or give that the parameters: lambda params, lr: ...",
        param_groups=name_of(param_groups),
    )
    return made


def as_losses(given: Any) -> Any:
    """(model, batch) -> scalar tensor, of one loss or of a list of them, as `as_loss` takes each.

    Raises:
        InvalidInputError: one is of another form, or the list is empty.
    """
    if not isinstance(given, list | tuple):
        return as_loss(given)
    require(len(given) > 0, "loss must be a function, or a list of at least one", got=given)
    losses = tuple(as_loss(each) for each in given)
    for each in losses:
        require_takes("loss", each, "model", "batch")
    return losses[0] if len(losses) == 1 else LossesInTurn(losses)


def losses_of(loss: Loss) -> list[Loss]:
    """The losses one by one."""
    return list(loss.in_turn) if isinstance(loss, LossesInTurn) else [loss]


def takes_model(function: Any) -> bool:
    """Whether a function that makes an optimizer is one of (model, lr): it needs two arguments, the first not the parameters.

    >>> takes_model(lambda model, lr: model.configure_optimizers(lr)), takes_model(lambda params, lr: torch.optim.SGD(params, lr))
    (True, False)
    >>> takes_model(torch.optim.SGD)
    False
    """
    if isinstance(function, ModelOptimizers):
        return True
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    needed = _needed(function)
    if isinstance(inner, type) or len(needed) != 2 or needed[0].kind is inspect.Parameter.KEYWORD_ONLY:
        return False  # a class of optimizers takes parameters, whatever it calls them
    name = needed[0].name.lower()
    return "param" not in name and name not in _PARAMETERS


def built_optimizer(optimizer: Any, losses: Sequence[Loss], groups: Any, model: nn.Module) -> Optimizers:
    """The optimizer of such a model; a list where there are several.

    Args:
        optimizer: as `as_optimizer` gave it.
        losses: of the training.
        groups: (model) -> parameters or torch parameter groups, or None.
        model: on its device.

    Raises:
        WorkloadError: the factory returns something else, or only some of the parameter groups name an LR, or it holds
            parameters that are not the model's; or there are other than one loss or one for each optimizer.
    """
    made = (
        optimizer(model, PROBE_LR) if isinstance(optimizer, ModelOptimizers) else [_of_params(optimizer, groups, model)]
    )
    if len(losses) not in (1, len(made)):
        raise WorkloadError(
            f"loss must be one function, or one for each optimizer, but got {len(losses)} for {_counted(made)}. Several optimizers are "
            "made of the model: optimizer=lambda model, lr: [one, another]."
        )
    if others := foreign(model, made):
        raise WorkloadError(f"The optimizer's parameters must be the model's, but {others}")
    return made if len(made) > 1 else made[0]


def of_parameters(optimizer: Any, made: Optimizers) -> tuple[OptimizerFactory, torch.optim.Optimizer]:
    """(params, lr=float) -> such an optimizer, of groups that hold all its settings, and the one that was made.

    Args:
        optimizer: as `as_optimizer` gave it; for one that is made of the model, the class stands in.
        made: by it: one.
    """
    (one,) = as_list(made)
    return (type(one) if isinstance(optimizer, ModelOptimizers) else optimizer), one


def made_by_name(optimizer: Any) -> str:
    """What the function of (model, lr) may be called in code; empty where the optimizer is made of the parameters."""
    if not isinstance(optimizer, ModelOptimizers):
        return ""
    name = name_of(optimizer)
    return name if name.isidentifier() else "make_optimizer"


def _counted(made: Sequence[torch.optim.Optimizer]) -> str:
    return f"{len(made)} optimizer{'s' * (len(made) > 1)} ({', '.join(type(each).__name__ for each in made)})"


def _of_params(factory: OptimizerFactory, groups: Any, model: nn.Module) -> torch.optim.Optimizer:
    params = list(groups(model) if groups is not None else model.parameters())
    named = ["lr" in group for group in params if isinstance(group, dict)]
    if any(named) and not all(named):
        raise WorkloadError(
            f"Either every parameter group must name an lr or none, but got {sum(named)} of {len(named)} that do. "
            "The groups keep the ratios of their LRs, and a group without one has no ratio to the others."
        )
    optimizer = factory(params, lr=PROBE_LR)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise WorkloadError(
            f"optimizer(params, lr=...) must return a torch.optim.Optimizer, but got {type(optimizer).__name__}."
        )
    return optimizer


def _needed(function: Any) -> list[inspect.Parameter]:
    """The arguments that have no default; none where that cannot be told."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    many = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each for each in parameters if each.default is each.empty and each.kind not in many]


def _second(make: Any) -> str:
    """The name of the LR's argument, where it can be passed by name; empty where not."""
    needed = _needed(make)
    return needed[1].name if len(needed) == 2 and needed[1].kind is not inspect.Parameter.POSITIONAL_ONLY else ""
