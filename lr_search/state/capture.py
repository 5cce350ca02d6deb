"""The state of a training: captured in memory, and put back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lr_search.errors import WorkloadError
from lr_search.optimizers.param_groups import Optimizers, as_list
from lr_search.state.captured import Captured
from lr_search.state.loss_modules import loss_modules


@contextmanager
def preserved_modes(model: nn.Module) -> Iterator[None]:
    """Every submodule's train/eval mode is put back, also after an exception."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def capture(
    model: nn.Module,
    optimizers: Optimizers,
    scaler: torch.amp.GradScaler | None = None,
    *,
    functions: Iterable[Callable[..., Any] | None] = (),
) -> Captured:
    """Copy in memory everything that training changes, whatever class keeps it.

    Weights, buffers, requires_grad, `.grad`, modes, attributes, layers that a forward pass makes; the optimizers with all
    that they hold; scaler and random states; and objects that hang on these, such as a trainer's results. Left alone are
    data sets and loaders, iterators, and objects of packages that log and show.

    Args:
        model: that is trained.
        optimizers: one or several; wrappers too.
        scaler: a GradScaler.
        functions: the loss and the metrics, for the modules that they use.

    Raises:
        InvalidInputError: something cannot be copied, or would take too much memory.
    """
    captured, device = Captured(), device_of(model)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        captured.add(f"model.{name}", tensor)
    for index, optimizer in enumerate(as_list(optimizers)):
        captured.add("optimizer" if index == 0 else f"optimizer {index + 1}", optimizer)
    captured.count_as_own()
    captured.add("model", model)
    captured.add("scaler", scaler)
    _add_loss_modules(captured, functions)
    captured.take([device, *(parameter.device for parameter in model.parameters())])
    return captured


def capture_loss(functions: Iterable[Callable[..., Any] | None]) -> Captured:
    """Copy what the modules hold that a loss and metrics use: where the model is a new one."""
    captured = Captured()
    _add_loss_modules(captured, functions)
    captured.take()
    return captured


def _add_loss_modules(captured: Captured, functions: Iterable[Callable[..., Any] | None]) -> None:
    for name, module in loss_modules(functions).items():
        captured.add(name, module, frozen_apart=True)


@contextmanager
def restored_afterwards(captured: Captured) -> Iterator[None]:
    """Whatever is done inside is undone, also after an exception; of Ctrl-C, what could not be undone is a note."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        try:
            captured.restore()
        except Exception as failure:
            error.add_note(str(failure))
        raise
    except BaseException:
        captured.restore()
        raise
    captured.restore()


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter.

    Raises:
        WorkloadError: the model has no parameters.
    """
    for parameter in model.parameters():
        return parameter.device
    raise WorkloadError(
        "The model must have parameters to train, but got none. Return the module that holds the layers."
    )
