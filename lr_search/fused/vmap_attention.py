"""Attention under vmap on a CPU, by the kernel that a model by itself uses."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

_OWN: Any = functional  # torch's module, whose functions are replaced for a while
_scaled_dot_product_attention = functional.scaled_dot_product_attention
_multi_head_attention_forward = functional.multi_head_attention_forward
_here = threading.local()  # whether this thread is inside


@contextlib.contextmanager
def batchable_attention(device: torch.device) -> Iterator[None]:
    """Inside, attention runs what vmap knows: not the kernel for eval mode, and on a CPU what is quick there.

    vmap has no rule for the CPU's flash kernel, and would run it model by model; and it copies a layer's weights for each
    position of a transposed sequence. So models and examples are folded into one dimension for the kernel, and transposed
    sequences are copied first. Attention with dropout runs the plain operations.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _replaced() if device.type == "cpu" else contextlib.nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextlib.contextmanager
def _replaced() -> Iterator[None]:
    """Inside, torch's functions are ours: a `TorchFunctionMode` would not see what is called within multi_head_attention_forward."""
    _here.inside = True
    _OWN.scaled_dot_product_attention, _OWN.multi_head_attention_forward = _attention, _multi_head
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        attention_of_torch()


def attention_of_torch() -> None:
    """Have torch's own functions in their places again, and this thread outside of the block."""
    _OWN.scaled_dot_product_attention = _scaled_dot_product_attention
    _OWN.multi_head_attention_forward = _multi_head_attention_forward
    _here.inside = False


def _inside() -> bool:
    return getattr(_here, "inside", False)


def _multi_head(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **settings: Any) -> Any:
    """Torch's function of that name, on sequences without gaps; equal ones stay one, for they are projected together."""
    if _inside():
        without_gaps = {id(tensor): tensor.contiguous() for tensor in (query, key, value)}
        query, key, value = (without_gaps[id(tensor)] for tensor in (query, key, value))
    return _multi_head_attention_forward(query, key, value, *args, **settings)


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **others: Any,
) -> torch.Tensor:
    """Torch's function of that name, folded where it is attention over heads without dropout."""
    of_heads = query.ndim == key.ndim == value.ndim == 4 and not others.get("enable_gqa")
    if not _inside() or not of_heads or dropout_p:
        return _scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **others)
    output: torch.Tensor = _Folded.apply(query, key, value, attn_mask, is_causal, others.get("scale"))  # type: ignore[no-untyped-call]
    return output


class _Folded(torch.autograd.Function):
    """Attention over models and examples as one dimension."""

    @staticmethod
    def forward(*args: Any) -> torch.Tensor:
        """Attention of one model; only what no model's weights have touched comes here, and needs no gradient."""
        query, key, value, mask, is_causal, scale = args
        return _scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal, scale=scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: the operations of `vmap` have gradients of their own."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[torch.Tensor, int]:
        """Attention of all models."""
        width, (*inputs, mask, is_causal, scale) = info.batch_size, args
        query, key, value = (_folded(tensor, dim, width) for tensor, dim in zip(inputs, in_dims[:3], strict=True))
        if mask is not None and (in_dims[3] is not None or (mask.ndim == 4 and mask.shape[0] > 1)):
            mask = _folded(*_of_heads(mask, in_dims[3], len(query) // width), width)
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
            output = _scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal, scale=scale)
        return torch.unflatten(output, 0, (width, -1)), 0


def _of_heads(mask: torch.Tensor, dim: int | None, examples: int) -> tuple[torch.Tensor, int | None]:
    """A mask of its own for each example or model: (models, examples, heads, length, length), and where the models are."""
    if dim is None:
        return mask, None
    mask = mask.movedim(dim, 0)
    while mask.ndim < 5:
        mask = mask.unsqueeze(1)
    return mask.expand(-1, examples, *mask.shape[2:]), 0


def _folded(tensor: torch.Tensor, dim: int | None, width: int) -> torch.Tensor:
    """The models' dimension and the first of their own as one."""
    tensor = tensor.unsqueeze(0).expand(width, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    return tensor.flatten(0, 1)
