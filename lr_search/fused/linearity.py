"""Whether optimizers can step several models, and whether one can for all: it is elementwise, and its step linear in the LR."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lr_search.errors import user_code
from lr_search.fused.stack import Stack
from lr_search.fused.updates import Layout, StackedUpdate, optimizer_over
from lr_search.optimizers.closures import takes_closure
from lr_search.optimizers.names import OptimizerFactory
from lr_search.optimizers.param_groups import Optimizers, as_list, group_ratios, set_lr
from lr_search.rng import preserved_rng
from lr_search.workloads.optimizer_forms import ModelOptimizers

NUM_STEPS = 24  # rectifications, look-aheads and warm-ups begin within so many
_LRS = (0.3, 0.01, 0.07)  # of the models at the first step; they fall and rise against each other
_TOLERANCE = 1e-7  # of a weight's way, in double precision
LARGEST_DIM = 3


def stacks(factory: OptimizerFactory, optimizer: torch.optim.Optimizer) -> bool:
    """Whether `StackedUpdate` gives what an optimizer for each model gives, tried out on small tensors with made-up gradients.

    Args:
        factory: (params, lr=float) -> Optimizer.
        optimizer: made by it; its groups and the number of dimensions of their parameters are what is tried.
    """
    try:
        with preserved_rng(torch.device("cpu")), user_code:
            return _largest_error(factory, optimizer) <= _TOLERANCE
    except Exception:  # it takes no parameters of that form
        return False


def optimizer_lacking(factory: Any, optimizers: Optimizers) -> str:
    """Why a workload's optimizer cannot step several models, as the rule and what came; empty where it can.

    Args:
        factory: the workload's.
        optimizers: made by it.
    """
    several = as_list(optimizers)
    one, kind = several[0], type(several[0]).__name__
    if len(several) > 1:
        kinds = ", ".join(type(each).__name__ for each in several)
        return f"one optimizer, but got {len(several)} ({kinds}), which take steps of their own"
    if isinstance(factory, ModelOptimizers) and not type(one).__module__.startswith("torch.optim."):
        return f"an optimizer of torch.optim, or one that is made of parameters, but got {kind}, which is made of the model"
    if takes_closure(one):
        return f"an optimizer that needs no closure, but got {kind}, which evaluates the loss itself"
    if callable(getattr(one, "train", None)) and callable(getattr(one, "eval", None)):
        return f"an optimizer that steps on the weights that are judged, but got {kind} with its train() and eval()"
    return ""


class _Small(nn.Module):
    """Small double-precision parameters in the groups of an optimizer."""

    def __init__(self, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
        super().__init__()
        self.groups: list[dict[str, Any]] = []
        self.held = nn.ParameterList()
        for group in optimizer.param_groups:
            shapes = list(dict.fromkeys(tuple(min(size, LARGEST_DIM) for size in p.shape) for p in group["params"]))
            parameters = [
                nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes
            ]
            self.held.extend(parameters)
            self.groups.append({**group, "params": parameters})
            self.groups[-1].pop("param_names", None)


def _largest_error(factory: OptimizerFactory, optimizer: torch.optim.Optimizer) -> float:
    generator = torch.Generator().manual_seed(0)
    model = _Small(optimizer, generator)
    stack = Stack(model, list(model.held), len(_LRS))
    start = stack.weights.clone()
    layout = Layout(stack, optimizer_over(factory, model.groups))
    update = StackedUpdate(stack, layout, factory, (0, len(_LRS)))
    copies = [_Small(optimizer, torch.Generator().manual_seed(0)) for _ in _LRS]
    singles = [optimizer_over(factory, copy.groups) for copy in copies]
    ratios = group_ratios(optimizer)
    for step in range(NUM_STEPS):
        lrs = [lr * (1 + (step * (index + 1)) % 5) / 5 for index, lr in enumerate(_LRS)]
        drawn = torch.randn(start.shape, generator=generator, dtype=torch.float64)
        stack.gradients.copy_(drawn)
        update.step(torch.tensor(lrs, dtype=torch.float64)[:, None], lrs, [None] * len(lrs))
        for lr, single, copy, row in zip(lrs, singles, copies, drawn, strict=True):
            for parameter, part in zip(copy.held, row.split([p.numel() for p in copy.held]), strict=True):
                parameter.grad = part.view(parameter.shape).clone()
            set_lr(single, lr, ratios)
            single.step()
    alone = torch.stack([torch.cat([p.detach().reshape(-1) for p in copy.held]) for copy in copies])
    way = (alone - start).abs().amax(dim=1, keepdim=True)
    return float(((stack.weights - alone).abs() / way).max())
