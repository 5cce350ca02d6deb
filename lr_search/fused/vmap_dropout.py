"""The masks of a dropout under vmap: those that a model by itself would draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.nn.functional import dropout
from torch.overrides import TorchFunctionMode


class SameMasks(TorchFunctionMode):
    """Inside, `dropout` draws one mask, in the order of memory that its input has in a model by itself.

    torch draws a mask in the order in which its input lies in memory, and vmap in the order of its dimensions: after a transposed
    tensor, as attention gives one, the same random numbers would fall on other elements.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """See `TorchFunctionMode`."""
        if func is dropout:
            return _dropped(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _dropped(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:  # noqa: A002
    if not training or not 0 < p < 1:
        return dropout(input, p, training, inplace)
    outermost_first = sorted(range(input.ndim), key=lambda dim: -input.stride()[dim])
    ones = torch.ones([input.shape[dim] for dim in outermost_first], dtype=input.dtype, device=input.device)
    back = sorted(range(input.ndim), key=lambda place: outermost_first[place])
    noise = dropout(ones, p).permute(back)  # 0 or 1 / (1 - p)
    return input.mul_(noise) if inplace else input * noise
