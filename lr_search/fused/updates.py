"""The optimizer's step for the rows of a stack, each at an LR of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from lr_search.fused.stack import Stack
from lr_search.optimizers.names import OptimizerFactory
from lr_search.optimizers.param_groups import group_ratios, set_lr, set_momentum
from lr_search.workloads.workload import PROBE_LR

Columns = tuple[int, int]


class Update(Protocol):
    """Moves the weights of some rows of a stack by their gradients."""

    def step(self, lrs: torch.Tensor, at: Sequence[float], momentum: Sequence[float | None]) -> None:
        """One step.

        Args:
            lrs: of each row, (rows, 1), on the device.
            at: the LR of each row, as numbers.
            momentum: of each row, or None for what it is.
        """

    def keep(self, rows: Sequence[int], first: int) -> None:
        """The stack has let go of all but these of its rows, the first of which is its row `first` now."""


class Layout:
    """An optimizer's parameter groups: which columns of a stack each has, and its settings.

    Args:
        stack: the models.
        optimizer: of the stack's own model; not stepped.
    """

    def __init__(self, stack: Stack, optimizer: torch.optim.Optimizer) -> None:
        known = {id(parameter) for parameter in stack.parameters}
        self.settings: list[dict[str, Any]] = []
        self.columns: list[list[Columns]] = []
        for group in optimizer.param_groups:
            self.settings.append(
                {name: value for name, value in group.items() if name not in ("params", "param_names")}
            )
            self.columns.append([stack.columns(parameter) for parameter in group["params"] if id(parameter) in known])
        self.ratios = group_ratios(optimizer)

    def groups(self, params: Callable[[Columns], torch.Tensor], *, merged: bool) -> Any:
        """Parameter groups for the factory.

        Args:
            params: makes the parameter for some columns.
            merged: whether parameters that lie side by side may be one.
        """
        groups = []
        for settings, columns in zip(self.settings, self.columns, strict=True):
            runs = _merged(columns) if merged else columns
            groups.append({**settings, "params": [params(run) for run in runs]})
        return groups


def _merged(columns: Sequence[Columns]) -> list[Columns]:
    runs: list[Columns] = []
    for begin, end in columns:
        if runs and runs[-1][1] == begin:
            runs[-1] = runs[-1][0], end
        else:
            runs.append((begin, end))
    return runs


def optimizer_over(factory: OptimizerFactory, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """An optimizer with the groups' settings, over their parameters."""
    if len(groups) == 1:  # some take no groups
        optimizer = factory(groups[0]["params"], lr=PROBE_LR)
        optimizer.param_groups[0].update({name: value for name, value in groups[0].items() if name != "params"})
        return optimizer
    return factory(groups, lr=PROBE_LR)


class StackedUpdate:
    r"""One optimizer for all rows.

    It steps at the largest LR of the rows, and each row goes its own share of the way:

    w_i <- w_i + lr_i / lr_max * (w_i' - w_i),   w' = the optimizer's step from w at lr_max

    Right for an optimizer that is elementwise, and whose step is linear in the LR; `stacks` checks that. At the largest LR, not
    at 1, since the way is a difference: it keeps the last bits that a row's own step would.

    Args:
        stack: the models.
        layout: of the optimizer's parameter groups.
        factory: (params, lr=float) -> Optimizer.
        rows: from, to.
    """

    def __init__(self, stack: Stack, layout: Layout, factory: OptimizerFactory, rows: tuple[int, int]) -> None:
        self._stack, self._ratios = stack, layout.ratios
        self._columns: list[Columns] = []
        self._parameters: list[nn.Parameter] = []
        self._place(*rows)
        self._optimizer = optimizer_over(factory, layout.groups(self._parameter, merged=True))
        self._bind()

    def _place(self, begin: int, end: int) -> None:
        self._rows = slice(begin, end)
        self._weights = self._stack.weights[self._rows]
        self._before = torch.empty_like(self._weights)

    def _parameter(self, columns: Columns) -> torch.Tensor:
        self._columns.append(columns)
        self._parameters.append(nn.Parameter(self._weights[:, slice(*columns)]))
        return self._parameters[-1]

    def _bind(self) -> None:
        """The parameters and their gradients are the stack's own memory."""
        gradients = self._stack.gradients[self._rows]
        for parameter, columns in zip(self._parameters, self._columns, strict=True):
            parameter.grad = None
            parameter.data = self._weights[:, slice(*columns)]
            parameter.grad = gradients[:, slice(*columns)]

    @torch.no_grad()
    def step(self, lrs: torch.Tensor, at: Sequence[float], momentum: Sequence[float | None]) -> None:
        """See `Update`."""
        largest = max((lr for lr in at if math.isfinite(lr)), default=0.0) or 1.0
        set_lr(self._optimizer, largest, self._ratios)
        if momentum[0] is not None:
            set_momentum(self._optimizer, momentum[0])
        if all(lr == largest for lr in at):  # as in a range test: every row goes the whole way
            self._optimizer.step()
            return
        self._before.copy_(self._weights)
        self._optimizer.step()
        torch.lerp(self._before, self._weights, lrs / largest, out=self._weights)

    def keep(self, rows: Sequence[int], first: int) -> None:
        """See `Update`."""
        index = torch.tensor(rows, device=self._weights.device)
        for parameter in self._parameters:
            state = self._optimizer.state.get(parameter, {})
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    state[name] = value[index].contiguous()
        self._place(first, first + len(rows))
        self._bind()


class RowUpdate:
    """An optimizer for each row, over views of the stack: right for every optimizer, at the price of its calls for each row.

    Args:
        stack: the models.
        layout: of the optimizer's parameter groups.
        factory: (params, lr=float) -> Optimizer.
        rows: from, to.
    """

    def __init__(self, stack: Stack, layout: Layout, factory: OptimizerFactory, rows: tuple[int, int]) -> None:
        self._stack, self._ratios = stack, layout.ratios
        self._order = _order(stack, layout)
        self._optimizers: list[torch.optim.Optimizer] = []
        self._parameters: list[list[nn.Parameter]] = []
        shapes = {stack.columns(parameter): parameter.shape for parameter in stack.parameters}
        for row in range(*rows):
            held: list[nn.Parameter] = []

            def parameter(columns: Columns, row: int = row, held: list[nn.Parameter] = held) -> torch.Tensor:
                held.append(nn.Parameter(stack.weights[row, slice(*columns)].view(shapes[columns])))
                return held[-1]

            self._optimizers.append(optimizer_over(factory, layout.groups(parameter, merged=False)))
            self._parameters.append(held)
        self._bind(rows[0])

    def _bind(self, first: int) -> None:
        weights, gradients = self._stack.views(self._stack.weights), self._stack.views(self._stack.gradients)
        for row, held in enumerate(self._parameters, first):
            for index, parameter in zip(self._order, held, strict=True):
                parameter.grad = None
                parameter.data = weights[index][row]
                parameter.grad = gradients[index][row]

    def step(self, lrs: torch.Tensor, at: Sequence[float], momentum: Sequence[float | None]) -> None:
        """See `Update`."""
        for optimizer, lr, row_momentum in zip(self._optimizers, at, momentum, strict=True):
            set_lr(optimizer, lr, self._ratios)
            if row_momentum is not None:
                set_momentum(optimizer, row_momentum)
            optimizer.step()

    def keep(self, rows: Sequence[int], first: int) -> None:
        """See `Update`."""
        self._optimizers = [self._optimizers[row] for row in rows]
        self._parameters = [self._parameters[row] for row in rows]
        self._bind(first)


def _order(stack: Stack, layout: Layout) -> list[int]:
    """Which of the stack's parameters an optimizer's are, in its order."""
    at = {stack.columns(parameter): index for index, parameter in enumerate(stack.parameters)}
    return [at[columns] for group in layout.columns for columns in group]
