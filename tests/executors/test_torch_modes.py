"""Torch's modes behind a block that an alarm has ended, wherever that was."""

import contextlib
import random

import pytest
import torch
from torch.nn import functional

from lr_search.errors import TimeUpError
from lr_search.executors.time_limits.alarm import TrialTimeoutError, alarm
from lr_search.executors.time_limits.limits import TimeLimits
from lr_search.executors.time_limits.torch_modes import Watch
from lr_search.fused.vmap_attention import batchable_attention

CPU = torch.device("cpu")


def modes():
    """What can be asked of torch, by its own public functions where there are some."""
    return {
        "transforms": torch._C._functorch.get_dynamic_layer_stack_depth(),
        "grad": torch.is_grad_enabled(),
        "autocast": [torch.is_autocast_enabled(device) for device in ("cpu", "cuda")],
        "fastpath": torch.backends.mha.get_fastpath_enabled(),
        "flash": torch.backends.cuda.flash_sdp_enabled(),
        "attention": (functional.scaled_dot_product_attention, functional.multi_head_attention_forward),
    }


def busy(turns=10**9):
    """Goes into and out of every mode."""
    x = torch.ones(2, 3)
    for _ in range(turns):
        with batchable_attention(CPU), torch.autocast("cpu", torch.bfloat16):
            torch.vmap(lambda row: functional.linear(row, x))(x)
        with torch.no_grad():
            torch.func.grad(lambda row: row.sum())(x)


def still_works():
    x = torch.ones(3, requires_grad=True)
    (x * 2).sum().backward()
    return x.grad.tolist() == [2.0, 2.0, 2.0]


def ended_anywhere(watched, turns):
    """How often the modes were others after a block that was ended at any moment."""
    busy(2)  # imports what it needs
    draw, before, changed = random.Random(0), modes(), 0
    for _ in range(turns):
        with contextlib.suppress(TimeUpError), watched(alarm(0.0005 + 0.002 * draw.random())):
            busy()
        changed += modes() != before or not works()
    return changed


def works():
    try:
        return still_works()
    except RuntimeError:
        return False


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # it may come into a weak reference's callback
def test_they_are_as_before_wherever_it_was_ended():
    assert ended_anywhere(Watch, 60) == 0


def test_and_a_cast_that_was_kept_is_not_used_again():
    layer = torch.nn.Linear(1, 1, bias=False)
    with contextlib.suppress(TimeUpError), Watch(alarm(0.05)):
        torch.autocast("cpu", torch.bfloat16).__enter__()
        layer(torch.ones(1, 1))  # its weight as bfloat16 is kept until the outermost block is over
        while True:
            pass
    with torch.no_grad():
        layer.weight.fill_(2.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.ones(1, 1)).item() == 2.0


def left_in_the_middle():
    torch._C._functorch._vmap_increment_nesting(2, "error")
    torch.set_grad_enabled(False)
    while True:
        pass


def test_what_a_trials_limit_ends_is_restored_too():
    before = modes()
    with pytest.raises(TrialTimeoutError), TimeLimits(trial_seconds=0.05).watch():
        left_in_the_middle()
    assert modes() == before
    assert still_works()


def test_what_the_users_code_sets_and_leaves_is_its_own():
    with TimeLimits(trial_seconds=60).watch():
        torch.set_grad_enabled(False)
    assert not torch.is_grad_enabled()
    torch.set_grad_enabled(True)
