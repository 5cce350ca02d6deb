"""What a forward pass changes beside the weights: put back after a pass that the training does not know of."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lr_search.state.captured import Captured
from lr_search.state.holdings import is_machinery
from lr_search.state.loss_modules import loss_modules
from lr_search.state.places import ObjectPlace
from lr_search.state.sharding import reshard

_REGISTERS = ("_parameters", "_buffers", "_modules")
# what every module has; where a recurrent one lists its weights once more; a convolution's padding
_KNOWN = {
    *vars(nn.Module()), "_flat_weights", "_flat_weight_refs", "_flat_weights_names", "_all_weights",
    "_reversed_padding_repeated_twice",
}  # fmt: skip
_NUMBERS = (type(None), bool, int, float, str)

_Held = tuple[dict[str, Any], dict[str, Any], nn.Module | None]  # a module's dictionary and what stood in it; its owner


class ForwardState:
    """The buffers and the attributes of a model and of the modules that its loss uses.

    It costs little where modules have buffers only: a range test asks for it at most of its steps.

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
        modules = _within(self._roots)
        reshard(modules)  # FSDP2 registers gathered weights for a pass: else it takes the shards for gathered ones
        held = _held(modules)
        captured = self._captured(modules)
        buffers = [b for module in modules for b in module._buffers.values() if b is not None and not is_lazy(b)]
        aliases = [buffer.data for buffer in buffers]
        if [(b.shape, b.dtype) for b in buffers] != [(b.shape, b.dtype) for b in self._copies]:
            self._copies = [torch.empty_like(buffer) for buffer in buffers]
        _copy(self._copies, buffers)
        try:
            yield
        finally:
            reshard(_within(self._roots))
            _put_back(held)
            for buffer, alias in zip(buffers, aliases, strict=True):
                if buffer.shape != alias.shape:
                    buffer.data = alias
            _copy(buffers, self._copies)
            if captured is not None:
                captured.restore()

    def _captured(self, modules: list[nn.Module]) -> Captured | None:
        """What attributes hold that are neither numbers nor registered; None where there are none."""
        registered = [t for m in modules for t in (*m._parameters.values(), *m._buffers.values()) if t is not None]
        lazy = any(map(is_lazy, registered))
        found = [
            (f"{type(module).__name__}.{name}", vars(module)[name])
            for module in modules
            for name in (() if is_machinery(module) else vars(module).keys() - _KNOWN)
            if not _is_fixed(vars(module)[name])
        ]
        if not found and not lazy:
            return None
        captured = Captured()
        for root in self._roots if lazy else ():  # they get their shapes in the pass, and lose them again
            captured.add("model", root)
        apart = {*map(id, modules), *map(id, registered)}
        for name, value in found:
            captured.add(name, value, apart=apart)
        captured.take()
        return captured


def _is_fixed(value: Any) -> bool:
    """Whether nothing can change inside it."""
    return isinstance(value, _NUMBERS) or (type(value) is tuple and all(isinstance(each, _NUMBERS) for each in value))


def _within(roots: list[nn.Module]) -> list[nn.Module]:
    """Every module in these, once."""
    found, waiting = dict.fromkeys(roots), list(roots)
    while waiting:
        for module in waiting.pop()._modules.values():
            if module is not None and module not in found:
                found[module] = None
                waiting.append(module)
    return list(found)


def _held(modules: list[nn.Module]) -> list[_Held]:
    """What is set and registered in the modules."""
    held: list[_Held] = []
    for module in modules:
        own = vars(module)
        if not is_machinery(module):
            held.append((own, own.copy(), module))
        held += [(own[name], own[name].copy(), None) for name in _REGISTERS]
    return held


def _put_back(held: list[_Held]) -> None:
    for now, before, owner in held:
        if now.keys() == before.keys() and all(map(operator.is_, now.values(), before.values())):
            continue
        if owner is not None:
            ObjectPlace(owner, type(owner), before).restore()
        else:
            now.clear()
            now.update(before)


def _copy(targets: list[torch.Tensor], sources: list[torch.Tensor]) -> None:
    if targets:
        torch._foreach_copy_(targets, sources)
