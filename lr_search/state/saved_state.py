"""A model, its optimizers and the modules its loss uses, written down so that another training goes on with the same bits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lr_search.state.loss_modules import loss_modules
from lr_search.state.plain_state import Decoder, Encoder, own_attributes, same_codes

Functions = Iterable[Callable[..., Any] | None]


def saved_state(
    model: nn.Module, device: torch.device, optimizer: Any = None, functions: Functions = ()
) -> dict[str, Any]:
    """All that they hold beside the model's own `state_dict()`: plain containers, numbers and tensors.

    Args:
        model: that is trained.
        device: of the training.
        optimizer: of it; a wrapper too.
        functions: the loss and the metrics, for the modules that they use; of these frozen parameters are left out.
    """
    modules = _modules(model, functions)
    encoder = Encoder(_named(modules), device)
    return {
        "buffers": {name: _buffers(module) for name, module in modules.items()},
        "parameters": {name: _trainable(module) for name, module in modules.items() if name != "model"},
        "attributes": {name: _attributes(module, encoder) for name, module in modules.items()},
        "optimizer": encoder(optimizer),
    }


def load_saved_state(
    model: nn.Module, weights: Mapping[str, Any], state: Mapping[str, Any], device: torch.device, optimizer: Any = None,
    functions: Functions = (),
) -> None:  # fmt: skip
    """Put a model's `state_dict()` and what `saved_state` gave into another model, its optimizer and the modules its loss uses.

    Raises:
        WorkloadError: they keep other kinds of things.
    """
    modules = {name: module for name, module in _modules(model, functions).items() if name in state["buffers"]}
    for name, module in modules.items():
        _load_buffers(module, state["buffers"][name], device)  # their shapes too, before the weights are compared
        with torch.no_grad():
            for parameter, value in state["parameters"].get(name, {}).items():
                module.get_parameter(parameter).copy_(value)
    model.load_state_dict(weights)
    decoder = Decoder(_named(modules), device)
    for name, module in modules.items():
        for path, held in state["attributes"][name].items():
            _load_attributes(module.get_submodule(path), held, decoder, f"{name}.{path}".rstrip("."))
    decoder(optimizer, state["optimizer"], "the optimizer")


def state_beside(model: nn.Module, functions: Functions, device: torch.device) -> dict[str, Any]:
    """A copy of what is kept elsewhere than in the model's parameters and buffers, by name: `model.hidden`."""
    state = saved_state(model, device, functions=functions)
    places = {(root, path): held for root, paths in state["attributes"].items() for path, held in paths.items()}
    found = {
        ".".join(filter(None, (root, path, name))): code
        for (root, path), held in places.items()
        for name, code in held.items()
    }
    for word in ("buffers", "parameters"):
        for root, tensors in state[word].items():
            found |= {f"{root}.{name}": tensor.detach() for name, tensor in tensors.items() if root != "model"}
    return copy.deepcopy(found)


def changed_names(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names of what differs between two of `state_beside`."""
    names = sorted(before.keys() | after.keys())
    return [name for name in names if not same_codes(before.get(name), after.get(name))]


def _load_buffers(module: nn.Module, saved: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Give every buffer its saved value, and its shape, which may have changed; what was not saved is None."""
    made: dict[int, torch.Tensor] = {}  # buffers may be tied
    for path, owner in module.named_modules():
        for name, existing in list(owner._buffers.items()):
            if f"{path}.{name}".lstrip(".") not in saved and existing is not None and not is_lazy(existing):
                owner._buffers[name] = None
    for full_name, value in saved.items():
        path, _, name = full_name.rpartition(".")
        buffers = module.get_submodule(path)._buffers
        existing = buffers.get(name)
        if existing is None or is_lazy(existing) or (existing.shape, existing.dtype) != (value.shape, value.dtype):
            existing = buffers[name] = made.setdefault(id(value), value.to(device, copy=True))
        existing.copy_(value)


def _modules(model: nn.Module, functions: Functions) -> dict[str, nn.Module]:
    held = {f"the loss's {name}": module for name, module in loss_modules(functions).items() if module is not model}
    return {"model": model, **held}


def _named(modules: Mapping[str, nn.Module]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for root, module in modules.items():
        named |= {f"{root}: {name}": each for name, each in module.named_modules()}
        named |= {f"{root}: {name}": each for name, each in (*module.named_parameters(), *module.named_buffers())}
    return named


def _buffers(module: nn.Module) -> dict[str, torch.Tensor]:
    named = module.named_buffers(remove_duplicate=False)
    return {name: buffer for name, buffer in named if not is_lazy(buffer)}


def _trainable(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in module.named_parameters() if parameter.requires_grad}


def _attributes(module: nn.Module, encoder: Encoder) -> dict[str, Any]:
    return {
        path: {name: encoder(value) for name, value in own_attributes(each).items()}
        for path, each in module.named_modules()
    }


def _load_attributes(module: nn.Module, held: Mapping[str, Any], decoder: Decoder, name: str) -> None:
    now = own_attributes(module)
    for attribute in now.keys() - held.keys():
        object.__delattr__(module, attribute)
    for attribute, code in held.items():
        value = decoder(now.get(attribute), code, f"{name}.{attribute}")
        if attribute in now or not (isinstance(code, dict) and "other" in code):
            vars(module)[attribute] = value
