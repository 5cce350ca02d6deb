"""What modules and optimizers hold, as plain containers, numbers and tensors, which `torch.load(weights_only=True)` takes; and back.

Each thing becomes a number or text as it is, or a dictionary with one word for what it is: {"list": [...]}, {"object": {...}}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from lr_search.errors import WorkloadError
from lr_search.state.holdings import GENERATORS, attributes, is_looked_into, set_attribute
from lr_search.state.places import GeneratorPlace

_PLAIN = (type(None), bool, int, float, str)
_SEQUENCES = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque}
_LAYERS = {"_parameters", "_buffers", "_modules"}
_HOOKS = set(vars(nn.Module())) - _LAYERS - {"training"}


class Encoder:
    """Writes objects down; what is met again is referred to.

    Args:
        named: what is known by a name on both sides, and is not written down: parameters, buffers, modules.
        device: of the training; other tensors of it are put on the device of the one that goes on.
    """

    def __init__(self, named: Mapping[str, Any], device: torch.device) -> None:
        self._names = {id(value): name for name, value in named.items()}
        self._device = device
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []

    def __call__(self, value: Any) -> Any:
        """Its plain form; a tensor in it is the tensor itself."""
        if type(value) in _PLAIN:
            return value
        if id(value) in self._names:
            return {"named": self._names[id(value)]}
        if id(value) in self._numbers:
            return {"same": self._numbers[id(value)]}
        self._numbers[id(value)] = len(self._numbers)
        self._kept.append(value)
        if isinstance(value, torch.Tensor):
            home = value.device == self._device
            return {"tensor": value.detach(), "moves": (home and value.ndim > 0) or value.device.type != "cpu"}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            return {"array": torch.from_numpy(value.copy())}
        if isinstance(value, GENERATORS):
            return {"generator": self(GeneratorPlace.of(value).state)}
        if isinstance(value, dict):
            return {"dict": [[self(key), self(item)] for key, item in value.items()]}
        for word, kind in _SEQUENCES.items():
            if isinstance(value, kind):
                return {word: [self(item) for item in value]}
        if is_looked_into(value):
            return {
                "object": {name: self(item) for name, item in _attributes(value).items()},
                "class": _class_of(value),
            }
        return {"other": _class_of(value)}


def _attributes(owner: Any) -> dict[str, Any]:
    held = attributes(owner)
    if isinstance(owner, nn.Module):
        return {name: value for name, value in held.items() if name not in _HOOKS}
    if isinstance(owner, torch.optim.Optimizer):  # but for what is called around its steps
        return {name: value for name, value in held.items() if not name.startswith("_optimizer_")}
    return held


def same_codes(one: Any, other: Any) -> bool:
    """Whether two plain forms say the same."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_codes(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_codes, one, other))
    return type(one) is type(other) and bool(one == other)


def own_attributes(module: nn.Module) -> dict[str, Any]:
    """Of a registered module: what is neither a hook nor registered in turn."""
    return {name: value for name, value in _attributes(module).items() if name not in _LAYERS}


def _class_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


class Decoder:
    """Puts what was written down into the objects of another training, in place wherever there is one.

    Args:
        named: as of the `Encoder`, on this side.
        device: of the training that goes on.
    """

    def __init__(self, named: Mapping[str, Any], device: torch.device) -> None:
        self._named, self._device = named, device
        self._made: list[Any] = []

    def __call__(self, existing: Any, code: Any, name: str) -> Any:
        """The thing that was written down: the existing one where that can take it, else a new one.

        Args:
            existing: what stands in its place.
            code: the plain form.
            name: of the place, for messages.

        Raises:
            WorkloadError: an object is needed that is not there.
        """
        if not isinstance(code, dict):
            return code
        word = next(iter(code))
        content = code[word]
        if word == "named":
            return self._named[content]
        if word == "same":
            return self._made[content]
        index = len(self._made)
        self._made.append(existing)
        value = getattr(self, f"_{word}" if word not in _SEQUENCES else "_sequence")(existing, code, name, index)
        self._made[index] = value
        return value

    def _tensor(self, existing: Any, code: Any, name: str, index: int) -> torch.Tensor:
        value: torch.Tensor = code["tensor"]
        if isinstance(existing, torch.Tensor) and (existing.shape, existing.dtype) == (value.shape, value.dtype):
            with torch.no_grad():
                return existing.copy_(value)
        value = value.to(self._device) if code["moves"] else value
        return value.detach().clone()

    def _array(self, existing: Any, code: Any, name: str, index: int) -> np.ndarray[Any, Any]:
        array: np.ndarray[Any, Any] = code["array"].cpu().numpy().copy()
        return array

    def _generator(self, existing: Any, code: Any, name: str, index: int) -> Any:
        self._require(isinstance(existing, GENERATORS), "a random generator", name)
        state = self(None, code["generator"], name)
        GeneratorPlace(existing, state.cpu() if isinstance(state, torch.Tensor) else state).restore()
        return existing

    def _dict(self, existing: Any, code: Any, name: str, index: int) -> dict[Any, Any]:
        container = existing if isinstance(existing, dict) else {}
        self._made[index] = container
        before = dict(container)
        pairs = []
        for key_code, item in code["dict"]:
            key = self(None, key_code, name)
            pairs.append((key, self(before.get(key), item, f"{name}[{key!r}]" if type(key) in _PLAIN else name)))
        container.clear()
        container.update(pairs)
        return container

    def _sequence(self, existing: Any, code: Any, name: str, index: int) -> Any:
        word, items = next(iter(code.items()))
        kind = _SEQUENCES[word]
        container = existing if isinstance(existing, kind) else kind()
        self._made[index] = container
        before = list(container) if word in ("list", "tuple", "deque") else []
        before += [None] * (len(items) - len(before))
        values = [self(was, item, f"{name}[{i}]") for i, (was, item) in enumerate(zip(before, items, strict=False))]
        if isinstance(container, tuple):
            return type(container)(*values) if hasattr(container, "_fields") else tuple(values)
        if isinstance(container, frozenset):
            return frozenset(values)
        container.clear()
        (container.update if isinstance(container, set) else container.extend)(values)
        return container

    def _object(self, existing: Any, code: Any, name: str, index: int) -> Any:
        self._require(_class_of(existing) == code["class"], f"an object of {code['class']}", name)
        held = _attributes(existing)
        for attribute in held.keys() - code["object"].keys():
            object.__delattr__(existing, attribute)
        for attribute, item in code["object"].items():
            value = self(held.get(attribute), item, f"{name}.{attribute}")
            if attribute in held or not (isinstance(item, dict) and "other" in item):
                set_attribute(existing, attribute, value)
        return existing

    def _other(self, existing: Any, code: Any, name: str, index: int) -> Any:
        return existing

    def _require(self, condition: bool, what: str, name: str) -> None:
        if not condition:
            raise WorkloadError(
                f"A training goes on from a saved state where a new one keeps the same kinds of things, but {name} needs {what}. "
                "Make it where the model or the optimizer is made, not in the first steps."
            )
