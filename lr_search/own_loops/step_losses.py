"""The losses that a training function tells, step by step: kept on the device, and read in blocks."""

from __future__ import annotations

import math
from typing import Any

import torch

from lr_search.errors import WorkloadError, quoted

LOSS_BLOCK = 10  # steps between reads of the losses: each read waits for the device


class StepLosses:
    """Losses by step; of several within a step the mean counts.

    A loss may be told before the step that it is for, or after it: which, the first one shows.
    """

    def __init__(self) -> None:
        self._steps, self._read = 0, 0  # done, and read
        self._late: bool | None = None  # whether a loss is told after its step
        self._waiting: list[tuple[int, Any]] = []  # (step from 0 on, loss)
        self._sum, self._count = 0.0, 0

    @property
    def full(self) -> bool:
        """Whether a block of steps waits to be read."""
        return bool(self._waiting) and self._complete - self._read >= LOSS_BLOCK

    @property
    def _complete(self) -> int:
        """How many steps have all their losses."""
        return self._steps - 1 if self._late else self._steps

    def add(self, value: Any) -> None:
        """Take a loss: a number, or a tensor of one element. Raises: WorkloadError: it is neither."""
        if self._late is None:
            self._late = self._steps > 0
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            kept: Any = value.detach().reshape(()) if value.device.type != "cpu" else float(value.detach())
        else:
            try:
                kept = float(value.detach() if isinstance(value, torch.Tensor) else value)
            except (TypeError, ValueError, RuntimeError):
                rule = "run.loss(...) must be given a number, or a tensor of one element"
                raise WorkloadError(f"{rule}, but got {quoted(value)}. Take its mean.") from None
        self._waiting.append((self._steps - 1 if self._late else self._steps, kept))

    def stepped(self) -> None:
        """A step was taken."""
        self._steps += 1

    def read(self, *, whole: bool = False) -> dict[int, float]:
        """Step (from 0 on) -> mean loss, of those since the last read that have any; waits for the device.

        Args:
            whole: take what is there of the last step too.
        """
        until = self._steps if whole else self._complete
        now = [(step, value) for step, value in self._waiting if step < until]
        self._waiting = [(step, value) for step, value in self._waiting if step >= until]
        self._read = until
        values = _numbers([value for _, value in now])
        by_step: dict[int, list[float]] = {}
        for (step, _), value in zip(now, values, strict=True):
            by_step.setdefault(step, []).append(value)
        means = {
            step: math.fsum(each) / len(each) if all(map(math.isfinite, each)) else _not_finite(each)
            for step, each in by_step.items()
        }
        self._sum, self._count = self._sum + sum(means.values()), self._count + len(means)
        return means

    def mean_since(self) -> float:
        """The mean of what was read since the last call; nan where there was nothing."""
        mean = self._sum / self._count if self._count else math.nan
        self._sum, self._count = 0.0, 0
        return mean


def _not_finite(losses: list[float]) -> float:
    return next(value for value in losses if not math.isfinite(value))


def _numbers(values: list[Any]) -> list[float]:
    """The values off the device, those of tensors in one read."""
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    if not tensors:
        return values
    read = iter(torch.stack([each.float() for each in tensors]).tolist())
    return [next(read) if isinstance(value, torch.Tensor) else value for value in values]
