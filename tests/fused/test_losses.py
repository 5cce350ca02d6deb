"""One forward and backward pass for several models, against one for each; and parameters that only some batches move."""

import pytest
import torch
from torch import nn

from lr_search.fused.losses import ChangingPartsError, FusedLoss
from lr_search.fused.stack import Stack
from lr_search.fused.trials import clip
from lr_search.schedules import Constant
from tests.helpers.fused_cases import CLASSES, FEATURES, cross_entropy, examples, fused, mlp, workload


@pytest.fixture
def batches():
    inputs, classes = examples()
    return [(inputs[part : part + 8], classes[part : part + 8]) for part in (0, 8, 16)]


@pytest.fixture
def stack(seed_all):
    """Three models with different weights."""
    seed_all(0)
    model = mlp()
    stack = Stack(model, list(model.parameters()), 3)
    stack.weights += 0.1 * torch.randn(stack.weights.shape)
    return stack


def by_itself(stack, row, batches):
    """The mean loss of one model over the batches, and its gradient in a row."""
    model = stack.loaded(row)
    loss = torch.stack([cross_entropy(model, batch) for batch in batches]).mean()
    found = torch.autograd.grad(loss, list(model.parameters()))
    return loss.detach(), torch.cat([each.reshape(-1) for each in found])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_losses_and_gradients_are_those_of_each_by_itself(stack, batches, count):
    losses = FusedLoss(stack, cross_entropy).backward(batches[:count])
    for row in range(3):
        loss, gradient = by_itself(stack, row, batches[:count])
        assert losses[row] == pytest.approx(loss.item(), rel=1e-5)
        assert torch.allclose(stack.gradients[row], gradient, rtol=1e-4, atol=1e-6)
    assert not losses.requires_grad


def test_each_may_have_batches_of_its_own(stack, batches):
    together = tuple(torch.stack(parts) for parts in zip(*batches, strict=True))
    losses = FusedLoss(stack, cross_entropy, batch_dim=0).backward([together])
    for row, batch in enumerate(batches):
        loss, gradient = by_itself(stack, row, [batch])
        assert losses[row] == pytest.approx(loss.item(), rel=1e-5)
        assert torch.allclose(stack.gradients[row], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("clip_norm", [0.01, 1.0, 100.0])
def test_each_gradient_is_clipped_by_its_own_norm(clip_norm):
    gradients = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [30.0, 40.0]])
    expected = []
    for row in gradients:
        parameter = nn.Parameter(torch.zeros(2))
        parameter.grad = row.clone()
        nn.utils.clip_grad_norm_([parameter], clip_norm)
        expected.append(parameter.grad)
    clip(gradients, clip_norm)
    assert torch.allclose(gradients, torch.stack(expected), rtol=1e-6)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.first, self.second = nn.Linear(FEATURES, 8), nn.Linear(8, CLASSES), nn.Linear(8, CLASSES)


def alternating(parts):
    """A workload of whose batches the loss uses the parts in turn."""

    def batches():
        inputs, classes = examples()
        return [(inputs[8 * i : 8 * i + 8], classes[8 * i : 8 * i + 8], parts[i % 2]) for i in range(6)]

    def loss(model, batch):
        hidden = torch.tanh(model.body(batch[0]))
        return nn.functional.cross_entropy(sum(getattr(model, part)(hidden) for part in batch[2]), batch[1])

    return workload(TwoHeads, loss=loss, train_data=batches, valid_data=batches)


@pytest.mark.parametrize("parts", [(["first", "second"], ["first"]), (["first"], ["second"])])
def test_a_parameter_that_later_batches_do_not_move(parts):
    with pytest.raises(ChangingPartsError, match="a loss that moves the same parameters on every batch"):
        fused(alternating(parts), [Constant(0.1), Constant(0.01)])


def test_a_parameter_that_only_later_batches_move():
    with pytest.raises(ChangingPartsError):
        fused(alternating((["first"], ["first", "second"])), [Constant(0.1), Constant(0.01)])
