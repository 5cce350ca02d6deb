"""Torch's modes as they were: what ends the user's code anywhere may end a context manager between its two halves."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType

import torch

from lr_search.executors.time_limits.alarm import Alarm
from lr_search.fused.vmap_attention import attention_of_torch

_KERNELS = ("flash", "mem_efficient", "math", "cudnn")  # of attention
_DEVICES = ("cpu", "cuda")


class TorchModes:
    """Those of this thread, as they are now: transforms (vmap), gradients, autocast, the kernels of attention."""

    def __init__(self) -> None:
        self._transforms = torch._C._functorch.get_dynamic_layer_stack_depth()
        self._grad = torch.is_grad_enabled()
        self._autocast = [(torch.is_autocast_enabled(each), torch.get_autocast_dtype(each)) for each in _DEVICES]
        self._nesting = _nesting()
        self._fastpath = torch.backends.mha.get_fastpath_enabled()
        self._kernels = [getattr(torch.backends.cuda, f"{each}_sdp_enabled")() for each in _KERNELS]

    def restore(self) -> None:
        """Have them as they were."""
        torch._C._functorch.pop_dynamic_layer_stack_and_undo_to_depth(self._transforms)
        torch.set_grad_enabled(self._grad)
        for device, (enabled, dtype) in zip(_DEVICES, self._autocast, strict=True):
            torch.set_autocast_enabled(device, enabled)
            torch.set_autocast_dtype(device, dtype)
        for _ in range(_nesting() - self._nesting):
            torch.autocast_decrement_nesting()
        torch.clear_autocast_cache()
        torch.backends.mha.set_fastpath_enabled(self._fastpath)
        for each, enabled in zip(_KERNELS, self._kernels, strict=True):
            getattr(torch.backends.cuda, f"enable_{each}_sdp")(enabled)
        attention_of_torch()


class Watch(AbstractContextManager[None]):
    """An alarm, behind which torch's modes are as they were before it.

    Args:
        alarm: it ends the block.
    """

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm

    def __enter__(self) -> None:
        self._modes = TorchModes()
        self._alarm.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._alarm.__exit__(kind, error, trace)
        except BaseException:
            self._modes.restore()
            raise
        if error is not None:
            self._modes.restore()


def _nesting() -> int:
    """How many blocks of autocast this is in."""
    deep: int = torch.autocast_increment_nesting() - 1
    torch.autocast_decrement_nesting()
    return deep
