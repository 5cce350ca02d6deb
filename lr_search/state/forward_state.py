"""What a forward pass changes beside the weights: put back after a pass that the training does not know of."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lr_search.state.captured import Captured
from lr_search.state.holdings import is_machinery
from lr_search.state.loss_modules import loss_modules
from lr_search.state.places import ObjectPlace
from lr_search.state.sharding import reshard

_OF_EVERY_MODULE = set(vars(nn.Module()))
_NUMBERS = (type(None), bool, int, float, str)


class ForwardState:
    """The buffers and the attributes of a model and of the modules that its loss uses.

    It costs little where modules have buffers only: a range test asks for it at every step.

    Args:
        model: of the pass.
        functions: losses and metrics that are called in it.
    """

    def __init__(self, model: nn.Module, functions: Iterable[Callable[..., Any] | None] = ()) -> None:
        self._roots = [model, *loss_modules(functions).values()]
        self._copies: list[torch.Tensor] = []

    def clear(self) -> None:
        """Let go of the modules and the copies."""
        self._roots, self._copies = [], []

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Whatever a pass inside changes is undone."""
        self._reshard()
        modules = list(dict.fromkeys(module for root in self._roots for module in root.modules()))
        set_before = [_Set.of(module) for module in modules]
        captured = self._captured(modules)
        buffers = [b for module in modules for b in module._buffers.values() if b is not None and not is_lazy(b)]
        aliases = [buffer.data for buffer in buffers]
        if [(b.shape, b.dtype) for b in buffers] != [(b.shape, b.dtype) for b in self._copies]:
            self._copies = [torch.empty_like(buffer) for buffer in buffers]
        _copy(self._copies, buffers)
        try:
            yield
        finally:
            self._reshard()
            for state in set_before:
                state.restore()
            for buffer, alias in zip(buffers, aliases, strict=True):
                if buffer.shape != alias.shape:
                    buffer.data = alias
            _copy(buffers, self._copies)
            captured.restore()

    def _reshard(self) -> None:
        """FSDP2 registers gathered weights for a pass: put back by itself, or it takes the shards for gathered ones."""
        for root in self._roots:
            reshard(root)

    def _captured(self, modules: list[nn.Module]) -> Captured:
        """What attributes hold that are neither numbers nor registered."""
        captured = Captured()
        registered = [t for m in modules for t in (*m._parameters.values(), *m._buffers.values()) if t is not None]
        if any(is_lazy(tensor) for tensor in registered):  # they get their shapes in the pass, and lose them again
            for root in self._roots:
                captured.add("model", root)
        apart: set[int] = set()
        for module in modules:
            for name in () if is_machinery(module) else vars(module).keys() - _OF_EVERY_MODULE:
                value = vars(module)[name]
                if not isinstance(value, _NUMBERS):
                    apart = apart or {*map(id, modules), *map(id, registered)}
                    captured.add(f"{type(module).__name__}.{name}", value, apart=apart)
        captured.take()
        return captured


class _Set(NamedTuple):
    """What is set and registered in a module."""

    module: nn.Module
    held: dict[str, Any]
    registered: list[dict[str, Any]]

    @classmethod
    def of(cls, module: nn.Module) -> _Set:
        held = {} if is_machinery(module) else dict(vars(module))
        return cls(module, held, [dict(register) for register in _registers(module)])

    def restore(self) -> None:
        module = self.module
        if self.held and not _same(vars(module), self.held):
            ObjectPlace(module, type(module), self.held).restore()
        for register, held in zip(_registers(module), self.registered, strict=True):
            if not _same(register, held):
                register.clear()
                register.update(held)


def _registers(module: nn.Module) -> list[dict[str, Any]]:
    return [vars(module)[name] for name in ("_parameters", "_buffers", "_modules")]


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(map(operator.is_, one.values(), other.values()))


def _copy(targets: list[torch.Tensor], sources: list[torch.Tensor]) -> None:
    if targets:
        torch._foreach_copy_(targets, sources)
