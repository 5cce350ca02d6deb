"""Places where a training keeps something: a container, an object's attributes, a tensor, a generator; each as it was."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from lr_search.state.holdings import CONTAINERS, GENERATORS, attributes, is_looked_into, is_machinery, set_attribute
from lr_search.state.memory_copies import has_memory

_MISSING = object()


class StatePlace(Protocol):
    """What is put back by itself."""

    def restore(self) -> None:
        """Put it back; what is as it was is not written to."""


def places_of(value: Any) -> list[StatePlace]:
    """Where it keeps what may change; a tensor's numbers are not among them."""
    places: list[StatePlace] = []
    if isinstance(value, torch.Tensor):
        return [TensorPlace.of(value)]
    if isinstance(value, np.ndarray):
        return [ArrayPlace(value, value.copy())] if value.flags.writeable and not isinstance(value, np.memmap) else []
    if isinstance(value, GENERATORS):
        return [GeneratorPlace.of(value)]
    if isinstance(value, dict | list | set | deque):
        places.append(ContainerPlace.of(value))
    if is_looked_into(value) and (hasattr(value, "__dict__") or not isinstance(value, CONTAINERS)):
        places.append(ObjectPlace.of(value))
    return places


@dataclass(frozen=True)
class ContainerPlace:
    """What stands in a container."""

    container: Any
    contents: list[Any]

    @classmethod
    def of(cls, container: Any) -> ContainerPlace:
        """As it is now."""
        return cls(container, _contents(container))

    def restore(self) -> None:
        """Fill it anew where anything else stands in it."""
        container, contents = self.container, self.contents
        if _same(_contents(container), contents):
            return
        container.clear()
        if isinstance(container, dict):
            for key, value in zip(contents[::2], contents[1::2], strict=True):
                container[key] = value
        elif isinstance(container, set):
            container.update(contents)
        else:
            container.extend(contents)


def _contents(container: Any) -> list[Any]:
    """Its items; keys and values in turn."""
    if isinstance(container, dict):
        return [each for pair in container.items() for each in pair]
    return list(container)


def _same(items: list[Any], others: list[Any]) -> bool:
    return len(items) == len(others) and all(one is other for one, other in zip(items, others, strict=True))


@dataclass(frozen=True)
class ObjectPlace:
    """An object's attributes, and its class, which a lazy module changes."""

    owner: Any
    kind: type
    held: dict[str, Any]

    @classmethod
    def of(cls, owner: Any) -> ObjectPlace:
        """As it is now."""
        return cls(owner, type(owner), attributes(owner))

    def restore(self) -> None:
        """Set what is another, and take away what was not there."""
        owner = self.owner
        if type(owner) is not self.kind:
            owner.__class__ = self.kind
        now = attributes(owner)
        for name in () if is_machinery(owner) else now.keys() - self.held.keys():
            object.__delattr__(owner, name)
        for name, value in self.held.items():
            if now.get(name, _MISSING) is not value:
                set_attribute(owner, name, value)


@dataclass(frozen=True)
class TensorPlace:
    """A tensor's shape and place in memory, its class, which a lazy parameter changes, and its gradient."""

    tensor: torch.Tensor
    kind: type
    alias: torch.Tensor  # the same memory, in the same shape
    requires_grad: bool
    grad: torch.Tensor | None
    held: dict[str, Any]

    @classmethod
    def of(cls, tensor: torch.Tensor) -> TensorPlace:
        """As it is now."""
        grad = tensor.grad if tensor.is_leaf else None
        held = dict(vars(tensor)) if isinstance(tensor, torch.nn.Parameter) else {}
        return cls(tensor, type(tensor), tensor.data, tensor.requires_grad, grad, held)

    def restore(self) -> None:
        """Its numbers are copied back elsewhere."""
        tensor = self.tensor
        if type(tensor) is not self.kind:
            tensor.__class__ = self.kind
        if is_lazy(tensor) or _layout(tensor) != _layout(self.alias):
            tensor.data = self.alias
        if tensor.is_leaf:
            if tensor.requires_grad != self.requires_grad:
                tensor.requires_grad_(self.requires_grad)
            if tensor.grad is not self.grad:
                tensor.grad = self.grad
        if isinstance(tensor, torch.nn.Parameter) and not _same(_contents(vars(tensor)), _contents(self.held)):
            vars(tensor).clear()
            vars(tensor).update(self.held)


def _layout(tensor: torch.Tensor) -> tuple[Any, ...]:
    if not has_memory(tensor):
        return (tensor.dtype, tensor.device)
    storage = tensor.untyped_storage()._cdata
    return (tensor.dtype, tensor.device, tensor.shape, tensor.stride(), tensor.storage_offset(), storage)


@dataclass(frozen=True)
class ArrayPlace:
    """The numbers of a NumPy array."""

    array: np.ndarray[Any, Any]
    copied: np.ndarray[Any, Any]

    def restore(self) -> None:
        """Copy them back."""
        np.copyto(self.array, self.copied)


@dataclass(frozen=True)
class GeneratorPlace:
    """The state of a random generator that the training holds."""

    generator: Any
    state: Any

    @classmethod
    def of(cls, generator: Any) -> GeneratorPlace:
        """As it is now."""
        if isinstance(generator, np.random.Generator):
            return cls(generator, generator.bit_generator.state)
        return cls(generator, generator.getstate() if isinstance(generator, random.Random) else generator.get_state())

    def restore(self) -> None:
        """Set it."""
        if isinstance(self.generator, np.random.Generator):
            self.generator.bit_generator.state = self.state
        elif isinstance(self.generator, random.Random):
            self.generator.setstate(self.state)
        else:
            self.generator.set_state(self.state)
