"""Attention of several models under vmap, against each model by itself."""

import threading
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.nn import functional

from lr_search.fused.vmap_attention import batchable_attention

CPU = torch.device("cpu")
MODELS, EXAMPLES, HEADS, LENGTH = 3, 2, 4, 5


@pytest.fixture
def heads():
    """(models, examples, heads, length, dim), to be differentiated."""
    return torch.randn(MODELS, EXAMPLES, HEADS, LENGTH, 6, requires_grad=True)


def masks():
    causal = torch.ones(LENGTH, LENGTH).tril().bool()
    return {
        "none": None,
        "of all": causal,
        "as numbers": torch.zeros(LENGTH, LENGTH).masked_fill(~causal, float("-inf"))[None, None],
        "of each example": torch.randn(EXAMPLES, 1, LENGTH, LENGTH),
    }


def require_same(attend, tensor, dims=0):
    """The values and gradients that each model by itself has."""
    with batchable_attention(CPU):
        together = vmap(attend, in_dims=dims)(tensor)
    alone = torch.stack([attend(each) for each in tensor.unbind(dims)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(found.square().sum(), tensor, retain_graph=True)[0] for found in (together, alone)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", masks().values(), ids=masks())
def test_masks(heads, mask):
    require_same(lambda x: functional.scaled_dot_product_attention(x, x.tanh(), x.sin(), mask), heads)


def test_causal_scaled_and_with_the_models_last(heads):
    attend = partial(functional.scaled_dot_product_attention, is_causal=True, scale=0.3)
    last = heads.detach().movedim(0, -1).requires_grad_()
    with batchable_attention(CPU):  # looked up inside: `attend` above is torch's own
        together = vmap(lambda x: functional.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.3), -1)(last)
    alone = torch.stack([attend(each, each, each) for each in heads])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("own", [(LENGTH, LENGTH), (1, 1, LENGTH, LENGTH), (EXAMPLES, 1, LENGTH, LENGTH)])
def test_a_mask_of_each_models_own(heads, own):
    biases = torch.randn(MODELS, *own)
    with batchable_attention(CPU):
        together = vmap(lambda x, bias: functional.scaled_dot_product_attention(x, x, x, bias))(heads, biases)
    alone = [functional.scaled_dot_product_attention(x, x, x, bias) for x, bias in zip(heads, biases, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-5, atol=1e-6)


def test_keys_that_all_models_share(heads):
    shared = torch.randn(EXAMPLES, HEADS, LENGTH, 6)
    require_same(lambda x: functional.scaled_dot_product_attention(x, shared, shared), heads)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("crossed", [True, False])
def test_multi_head_attention(batch_first, crossed):
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first)
    inputs = torch.randn(MODELS, EXAMPLES, LENGTH, 8, requires_grad=True)
    require_same(
        lambda x: layer(x, x.sin() if crossed else x, x.cos() if crossed else x, need_weights=False)[0], inputs
    )


def test_a_pass_goes_through_the_kernel_once_and_not_model_by_model(heads):
    with torch.profiler.profile() as profile, batchable_attention(CPU):
        vmap(lambda x: functional.scaled_dot_product_attention(x, x, x))(heads)
    calls = {each.key: each.count for each in profile.key_averages()}
    assert calls["aten::_scaled_dot_product_flash_attention_for_cpu"] == 1


def test_torchs_own_functions_are_put_back_and_other_threads_have_them_meanwhile(heads):
    own = functional.scaled_dot_product_attention, functional.multi_head_attention_forward
    found = []

    def other_thread():
        x = heads[0].detach().requires_grad_()
        functional.scaled_dot_product_attention(x, x, x).sum().backward()
        found.append(x.grad)

    with batchable_attention(CPU):
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
    assert found[0] is not None
    with pytest.raises(ZeroDivisionError), batchable_attention(CPU):
        1 / 0  # noqa: B018
    assert (functional.scaled_dot_product_attention, functional.multi_head_attention_forward) == own
    assert torch.backends.mha.get_fastpath_enabled()
