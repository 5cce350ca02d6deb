"""The wrapper that Accelerate makes of an optimizer, known by what it has: Accelerate itself is not imported."""

from __future__ import annotations

from typing import Any

import torch


def is_accelerated(optimizer: Any) -> bool:
    """Whether Accelerate has wrapped it: each `step` of the optimizer within is a step indeed."""
    return hasattr(optimizer, "step_was_skipped") and isinstance(optimizer.optimizer, torch.optim.Optimizer)


class StepsTaken:
    """Notes the steps that an optimizer takes.

    Under Accelerate a loop calls `step` after every batch, also where gradients are still accumulated, and where the scaler of
    fp16 skips a step: the optimizer within the wrapper then takes none.

    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> steps = StepsTaken(optimizer)
    >>> optimizer.step()
    >>> steps.any_since(), steps.any_since()
    (True, False)
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._taken = False
        optimizer.register_step_post_hook(self._note)

    def _note(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._taken = True

    def any_since(self) -> bool:
        """Whether a step was taken since this was last asked."""
        taken, self._taken = self._taken, False
        return taken
