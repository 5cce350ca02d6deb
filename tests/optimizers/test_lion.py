"""Lion, against its formula in NumPy."""

import copy

import numpy as np
import pytest
import torch

from lr_search.optimizers.lion import Lion

STEPS = 30
LRS = 0.1 / (1 + np.arange(STEPS))
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 5, 3))
START = np.random.default_rng(1).normal(size=(5, 3))


def parameter():
    return torch.nn.Parameter(torch.tensor(START))


def stepped(optimizer, weights, steps, lrs=LRS):
    for step in steps:
        for weight in weights:
            weight.grad = torch.tensor(GRADIENTS[step])
        for group in optimizer.param_groups:
            group["lr"] = lrs[step] * group["ratio"]
        optimizer.step()


def by_formula(betas, weight_decay, ratio=1.0):
    """Chen et al. (2023), algorithm 2."""
    (beta1, beta2), weight, average = betas, START.copy(), np.zeros_like(START)
    for lr, gradient in zip(ratio * LRS, GRADIENTS, strict=True):
        update = np.sign(beta1 * average + (1 - beta1) * gradient)
        weight = weight - lr * (update + weight_decay * weight)
        average = beta2 * average + (1 - beta2) * gradient
    return weight


def test_the_formula_in_groups_of_their_own():
    weights = [parameter() for _ in range(3)]
    groups = [
        {"params": weights[:1], "ratio": 1.0},
        {"params": weights[1:2], "ratio": 0.5, "weight_decay": 0.3},
        {"params": weights[2:], "ratio": 2.0, "betas": (0.95, 0.98)},
    ]
    stepped(Lion(groups, lr=1.0), weights, range(STEPS))
    expected = [by_formula((0.9, 0.99), 0.0), by_formula((0.9, 0.99), 0.3, 0.5), by_formula((0.95, 0.98), 0.0, 2.0)]
    for weight, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight.detach().numpy(), wanted, rtol=1e-12, atol=1e-14)


def test_an_lr_that_is_a_tensor():
    weights = [parameter()]
    lrs = [torch.tensor(lr) for lr in LRS]
    stepped(Lion([{"params": weights, "ratio": 1.0, "weight_decay": 0.3}], lr=lrs[0]), weights, range(STEPS), lrs)
    np.testing.assert_allclose(weights[0].detach().numpy(), by_formula((0.9, 0.99), 0.3), rtol=1e-12, atol=1e-14)


def test_its_state_goes_on_in_another():
    weights = [parameter()]
    optimizer = Lion([{"params": weights, "ratio": 1.0}], lr=1.0)
    stepped(optimizer, weights, range(12))
    others = copy.deepcopy(weights)
    again = Lion([{"params": others, "ratio": 1.0}], lr=0.5, betas=(0.5, 0.5))
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    stepped(optimizer, weights, range(12, STEPS))
    stepped(again, others, range(12, STEPS))
    assert torch.equal(weights[0], others[0])


def test_a_closure_is_called_with_gradients_and_its_loss_returned():
    weight, idle = parameter(), torch.nn.Parameter(torch.ones(2))
    optimizer = Lion([idle, weight], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(np.square(START).sum())
    np.testing.assert_allclose(weight.detach().numpy(), START - 0.25 * np.sign(START))
    assert idle.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": -1.0}, r"lr and weight_decay must be at least 0, but got lr=-1\.0"),
        ({"weight_decay": float("nan")}, "but got lr=0.0001, weight_decay=nan"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\), but got betas=\(0\.9, 1\.0\)"),
    ],
)
def test_settings_that_cannot_be(settings, words):
    with pytest.raises(ValueError, match=words):
        Lion([parameter()], **settings)
