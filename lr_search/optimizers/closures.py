"""Optimizers that evaluate the loss themselves, several times a step: LBFGS, and those that look around first, such as SAM."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch

from lr_search.errors import error_text

_NAME = "closure"
_LACKING = (
    "An optimizer whose step needs a closure must ask for it, but {kind}.step() has a default for it and raised {error}. Leave the "
    "default out: def step(self, closure)."
)


def takes_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its step cannot do without a closure, or that of the optimizer which it wraps (`.optimizer`, as accelerate's).

    Many that need one say `step(closure=None)`, as torch's base class does, and refuse None inside: so their source is read.

    >>> weights = [torch.nn.Parameter(torch.zeros(1))]
    >>> takes_closure(torch.optim.LBFGS(weights)), takes_closure(torch.optim.Adam(weights))
    (True, False)
    """
    kind: Any = type(optimizer)
    inner = getattr(optimizer, "optimizer", None)
    return _needs(kind) or (isinstance(inner, torch.optim.Optimizer) and takes_closure(inner))


def gradient_comes_first(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its step begins with the gradients that are there, and calls the closure after: so where the closure has a default."""
    kind: Any = type(optimizer)
    inner = getattr(optimizer, "optimizer", None)
    if isinstance(inner, torch.optim.Optimizer) and not _needs(kind):
        return gradient_comes_first(inner)
    parameter = _closure_of(kind.step)
    return parameter is not None and parameter.default is None


def closure_lacking(optimizer: torch.optim.Optimizer, error: Exception) -> str:
    """What to tell where a step without a closure raised for want of one, and its source did not show that; empty where it did not."""
    wants = _NAME in str(error).lower() or (isinstance(error, TypeError) and "'NoneType'" in str(error))
    if not wants or _closure_of(type(optimizer).step) is None:
        return ""
    return _LACKING.format(kind=type(optimizer).__name__, error=error_text(error))


def _closure_of(step: Any) -> inspect.Parameter | None:
    first = next(iter(list(inspect.signature(step).parameters.values())[1:2]), None)
    return first if first is not None and first.name == _NAME else None


@cache
def _needs(kind: type[Any]) -> bool:
    """Whether the step of that class fails without a closure, as far as its signature and its source tell."""
    for each in (vars(base)["step"] for base in kind.__mro__ if "step" in vars(base)):
        step = inspect.unwrap(each)
        parameter = _closure_of(step)
        if parameter is None or parameter.default is inspect.Parameter.empty:
            return parameter is not None
        body = _body_of(step)
        if _fails_on_none(body):
            return True
        if not _hands_on(body):
            return False
    return False


def _body_of(step: Any) -> Sequence[ast.stmt]:
    """The statements of a step; none where its source cannot be read."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(step)))
    except (OSError, TypeError, SyntaxError):
        return []
    return next((each.body for each in tree.body if isinstance(each, ast.FunctionDef)), [])


def _fails_on_none(body: Sequence[ast.stmt]) -> bool:
    """Whether a body cannot get by without a closure: it refuses None, or calls the closure, whatever the case."""
    for statement in _straight(body):
        if isinstance(statement, ast.Assert) and _says_given(statement.test):
            return True
        if isinstance(statement, ast.If):
            if _says_none(statement.test) and isinstance(statement.body[-1], ast.Raise):
                return True
            if _mentions(statement.test):
                return False  # it can do both
            continue
        if isinstance(statement, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return):
            value = statement.value
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == _NAME:
                return True
            if _assigns(statement) and not isinstance(value, ast.Call):
                return False  # another in its place
    return False


def _straight(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that are run in any case, those within `with` too."""
    for statement in body:
        if isinstance(statement, ast.With):
            yield from _straight(statement.body)
        else:
            yield statement


def _says_given(test: ast.expr) -> bool:
    """`closure`, `closure is not None`."""
    return _is_closure(test) or _compares_to_none(test, ast.IsNot | ast.NotEq)


def _says_none(test: ast.expr) -> bool:
    """`not closure`, `closure is None`."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _says_given(test.operand)
    return _compares_to_none(test, ast.Is | ast.Eq)


def _compares_to_none(test: ast.expr, how: Any) -> bool:
    if not (isinstance(test, ast.Compare) and _is_closure(test.left) and isinstance(test.ops[0], how)):
        return False
    other = test.comparators[0]
    return isinstance(other, ast.Constant) and other.value is None


def _is_closure(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == _NAME


def _mentions(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Name) and each.id == _NAME for each in ast.walk(node))


def _assigns(statement: ast.stmt) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(_is_closure(target) for target in targets)


def _hands_on(body: Sequence[ast.stmt]) -> bool:
    """Whether it calls `super().step(closure)`."""
    calls = (node for statement in body for node in ast.walk(statement) if isinstance(node, ast.Call))
    return any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "step"
        and isinstance(call.func.value, ast.Call)
        and isinstance(call.func.value.func, ast.Name)
        and call.func.value.func.id == "super"
        and any(_mentions(argument) for argument in (*call.args, *call.keywords))
        for call in calls
    )
