"""Whether the weights move at all: a ramp whose steps do nothing has an even curve, and nothing can be read off it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.parameter import is_lazy

from lr_search.errors import WorkloadError
from lr_search.optimizers.param_groups import groups
from lr_search.state.memory_copies import has_memory
from lr_search.training.step import Stepper

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_HELD_BACK = (
    "accelerate holds the optimizer's steps back while it accumulates gradients (sync_gradients is False). Run the range test "
    "after a step, outside of accumulate(), where accelerator.sync_gradients is True, or set it to True for the time of the test."
)
_NO_GRADIENT = (
    "no parameter of the optimizer got a gradient: the loss is computed without them. Build the optimizer from the parameters "
    "of this very model, and compute the loss without .detach() and torch.no_grad()."
)
_FROZEN = "all parameters of the optimizer are frozen (requires_grad is False). Unfreeze those to train."
_NO_LR = "the parameter groups that get a gradient have an lr of 0, and groups keep the ratios of their LRs. Give them an lr above 0."
_ZERO = (
    "the gradient was exactly 0 in every parameter. Begin with other weights, or look for what cuts the gradient off."
)
_SKIPPED = (
    "the GradScaler skipped every step, since the gradients at its scale, now {scale:g}, are not finite. "
    "Train some steps before, so that the scale falls, or give it a lower init_scale."
)
_IDLE = "the step() of {kind} changed no parameter. Check the optimizer."


class Movement:
    """Watches the weights of a ramp. At its first step nothing waits for the device, at its end once.

    Args:
        stepper: before its first step.

    Raises:
        WorkloadError: there is no weight to move.
    """

    def __init__(self, stepper: Stepper) -> None:
        self._stepper, self._begun, self._moved = stepper, False, False
        if not any(parameter.requires_grad for parameter in stepper.parameters):
            raise _still(_FROZEN)
        self._versions = self._read_versions()
        self._sum = _sums(stepper.parameters)

    def after_step(self) -> None:
        """Look at the first step.

        Raises:
            WorkloadError: it moved no weight, and neither will a later one.
        """
        if self._begun:
            return
        self._begun = True
        stepper = self._stepper
        ratios = zip(groups(stepper.optimizers), stepper.ratios, strict=True)
        given = [ratio for group, ratio in ratios if any(p.grad is not None for p in group["params"])]
        if given and not any(given):
            raise _still(_NO_LR)
        if self._versions != self._read_versions() or not self._is_still():
            return
        if any(_held_back(optimizer) for optimizer in stepper.optimizers):
            raise _still(_HELD_BACK)
        if not given:
            raise _still(_NO_GRADIENT)

    def at_end(self) -> None:
        """Look back at a ramp that went through.

        Raises:
            WorkloadError: it moved no weight, though not for rounding.
        """
        self._moved = self._moved or not self._is_still()
        if self._moved:
            return
        stepper = self._stepper
        gradients = [p.grad for p in stepper.parameters if p.grad is not None]
        stepped = self._versions != self._read_versions()
        if stepper.scaler is not None and stepper.scaler.is_enabled() and not stepped:
            raise _still(_SKIPPED.format(scale=stepper.scaler.get_scale()))
        if gradients and not any(bool(gradient.any()) for gradient in gradients):
            raise _still(_ZERO)
        if not stepped:
            raise _still(_IDLE.format(kind=type(stepper.optimizers[0]).__name__))

    def _read_versions(self) -> list[int]:
        return [parameter._version for parameter in self._stepper.parameters]

    def _is_still(self) -> bool:
        """Whether every weight is as at the beginning; waits for the device."""
        now = _sums(self._stepper.parameters)
        return self._sum is not None and now is not None and torch.equal(self._sum, now)


def _sums(parameters: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """A check sum of each parameter's bits, still on the device; None where they cannot be read as whole numbers."""
    if any(is_lazy(parameter) or not has_memory(parameter) for parameter in parameters):
        return None
    sums = []
    for parameter in parameters:
        values = parameter.detach()
        values = torch.view_as_real(values) if values.is_complex() else values
        whole = values.view(_INTEGERS[values.element_size()])
        sums.append(whole.sum(dtype=whole.dtype).long())  # in a wider dtype it would be copied first
    return torch.stack([each.to(sums[0].device) for each in sums])


def _held_back(optimizer: torch.optim.Optimizer) -> bool:
    return getattr(getattr(optimizer, "gradient_state", None), "sync_gradients", True) is False


def _still(what: str) -> WorkloadError:
    return WorkloadError(f"The steps of a range test must move the weights, but {what}")
