"""Where a ramp blows up, against what is known: a quadratic whose sharpest curvature is given, under stochastic gradients."""

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from tests.helpers.marks import usually

SHARPEST, DIMENSIONS = 10.0, 8


def blown_up_at(momentum, noise, seed, num_steps):
    """Sum of curvature / 2 * (weight - target)^2 with 8 curvatures from 0.1 to 10.

    The weights begin at 1, and the targets are normal around 0 with the deviation `noise`, another batch at every step.
    """
    curvatures = torch.logspace(-1, np.log10(SHARPEST), DIMENSIONS, dtype=torch.float64)
    targets = noise * torch.randn(
        num_steps, DIMENSIONS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    model = nn.Module()
    model.weight = nn.Parameter(torch.ones(DIMENSIONS, dtype=torch.float64))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=momentum)
    curve = lrs.range_test(
        model, optimizer, targets, lambda model, target: (curvatures / 2 * (model.weight - target) ** 2).sum(),
        start_lr=1e-5, end_lr=100.0, num_steps=num_steps,
    )  # fmt: skip
    assert curve.stopped == "diverged"
    return curve


@pytest.mark.parametrize("seed", usually([0], range(4)))
@pytest.mark.parametrize("num_steps", usually([400], [400, 800]))
@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_it_is_within_a_factor_of_two_of_the_edge_of_stability(momentum, noise, num_steps, seed):
    edge = 2 * (1 + momentum) / SHARPEST  # of heavy-ball momentum; Cohen et al. 2021, arXiv:2103.00065
    assert 0.5 < blown_up_at(momentum, noise, seed, num_steps).lr[-1] / edge < 2


def test_plain_sgds_gain_ratio_falls_to_zero_at_about_the_edge_whatever_the_noise():
    for noise in (0.1, 1.0):
        curve = blown_up_at(0.0, noise, 0, 400)
        ratio = curve.gain_ratio
        known = np.isfinite(ratio)
        # no less than that of the sharpest direction alone, and 1 far below it
        assert (ratio >= 1 - curve.lr * SHARPEST / 2 - 1e-9)[known].all()
        assert ratio[known & (curve.lr < 1e-3)] == pytest.approx(1, abs=0.01)
        below = curve.lr[ratio < 0]
        assert 2 / SHARPEST <= below.min() < 2 * 2 / SHARPEST
