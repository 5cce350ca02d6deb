"""A dropout under vmap: to the bit the masks that a model by itself draws, in whatever order its input lies in memory."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.nn import functional

from lr_search.fused.vmap_dropout import SameMasks

ORDERS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.transpose(0, 1),
    "rotated": lambda x: x.permute(2, 0, 1),
    "reversed": lambda x: x.permute(2, 1, 0),
    "strided": lambda x: x[:, ::2],
    "flat": lambda x: x.reshape(-1),
    "no_dimension": lambda x: x.sum(),
}
EVERY_ORDER = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


@pytest.fixture
def inputs():
    """(models, 3, 4, 5), none of them 0."""
    return torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1)) + 1


@pytest.fixture
def both(seed_all, inputs):
    """What a function gives for the models together and for each by itself, from the same random state."""

    def run(function, masks=SameMasks, given=inputs):
        seed_all(4)
        with masks():
            together = vmap(function, randomness="same")(given)
        single = []
        for each in given:
            seed_all(4)
            single.append(function(each))
        return together, torch.stack(single)

    return run


@EVERY_ORDER
@pytest.mark.parametrize("p", [0.3, 0.5])
def test_the_masks_are_those_of_a_model_by_itself(both, order, p):
    together, single = both(lambda x: functional.dropout(order(x), p))
    assert torch.equal(together == 0, single == 0)
    assert torch.allclose(together, single, rtol=1e-6)


@EVERY_ORDER
def test_in_place_too(both, order, inputs):
    def function(x):
        ordered = order(x.clone())
        dropped = functional.dropout(ordered, 0.5, inplace=True)
        assert dropped is ordered
        return ordered

    together, single = both(function)
    assert torch.equal(together == 0, single == 0)
    assert torch.allclose(together, single, rtol=1e-6)
    assert inputs.min() >= 1


def test_vmap_by_itself_would_draw_others(both):
    together, single = both(lambda x: functional.dropout(x.transpose(0, 1), 0.5), masks=nullcontext)
    assert not torch.equal(together == 0, single == 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_in_every_precision(both, inputs, dtype):
    together, single = both(lambda x: functional.dropout(x.transpose(0, 1), 0.5), given=inputs.to(dtype))
    assert together.dtype is dtype
    assert torch.equal(together, single)


@pytest.mark.parametrize("settings", [{"p": 0.0}, {"p": 1.0}, {"p": 0.5, "training": False}])
def test_what_draws_nothing_draws_nothing(both, inputs, settings):
    together, single = both(lambda x: functional.dropout(x, **settings))
    assert torch.equal(together, single)
    assert torch.equal(together, inputs * (settings["p"] != 1.0))


def test_the_random_state_is_left_where_a_model_leaves_it(seed_all, inputs):
    states = []
    for masks in (SameMasks(), nullcontext()):
        seed_all(4)
        with masks:
            functional.dropout(inputs[0], 0.5)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_modules_and_several_in_a_row(both):
    net = nn.Sequential(nn.Dropout(0.2), nn.Flatten(1), nn.Dropout(0.4), nn.Dropout1d(0.3))
    together, single = both(lambda x: net(x.transpose(0, 2)))
    assert torch.equal(together == 0, single == 0)
    assert torch.allclose(together, single, rtol=1e-6)


def test_other_functions_are_let_pass():
    with SameMasks():
        assert torch.equal(functional.relu(torch.tensor([-1.0, 2.0])), torch.tensor([0.0, 2.0]))
        assert nn.Dropout(0.5)(torch.ones(1000)).unique().tolist() == [0.0, 2.0]


def test_a_batch_of_which_models_see_the_same_is_dropped_the_same(seed_all):
    shared = torch.ones(4, 5)
    seed_all(4)
    with SameMasks():
        together = vmap(lambda x, scale: functional.dropout(x, 0.5) * scale, in_dims=(None, 0), randomness="same")(
            shared, torch.tensor([1.0, 3.0])
        )
    seed_all(4)
    single = functional.dropout(shared, 0.5)
    assert torch.equal(together, torch.stack([single, 3 * single]))
