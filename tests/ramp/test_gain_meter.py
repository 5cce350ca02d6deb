"""The gain ratio: what it is on a quadratic, under every kind of step, and that measuring it changes nothing else."""

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs

DOUBLE = torch.float64


class Weights(nn.Module):
    def __init__(self, *starts):
        super().__init__()
        self.parts = nn.ParameterList([nn.Parameter(torch.as_tensor(start, dtype=DOUBLE)) for start in starts])


def quadratic(curvature):
    """curvature / 2 * |weights - target|^2, over all tensors of weights."""

    def loss(model, target):
        return curvature / 2 * sum(((part - target) ** 2).sum() for part in model.parts)

    return loss


def targets(noise, count=20):
    return list(noise * torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=DOUBLE))


def ramped(model, optimizer, batches, loss, **options):
    options = {"start_lr": 1e-3, "end_lr": 1.9, "num_steps": 60, "gain_ratio": True} | options
    return lrs.range_test(model, optimizer, batches, loss, **options)


@pytest.mark.parametrize("curvature", [1e-3, 1.0, 250.0])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_on_a_quadratic_it_is_one_minus_half_the_lr_times_the_curvature(curvature, noise):
    model = Weights(1.0, [[2.0, -3.0]])
    curve = ramped(
        model, torch.optim.SGD(model.parameters(), lr=1.0), targets(noise), quadratic(curvature),
        start_lr=1e-3 / curvature, end_lr=10 / curvature, num_steps=401,
    )  # fmt: skip
    known = np.isfinite(curve.gain_ratio)
    assert known.mean() > 0.5  # without noise the loss is at its minimum for a while, and nothing is measured
    # without noise the last losses are too small for the full precision of a double
    tolerance = 1e-9 if noise else 1e-4
    assert curve.gain_ratio[known] == pytest.approx(1 - curve.lr[known] * curvature / 2, abs=tolerance)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_it_is_a_half_at_one_over_the_curvature_and_nothing_at_the_edge_of_stability(noise):
    model = Weights([5.0, -4.0])
    curve = ramped(
        model, torch.optim.SGD(model.parameters(), lr=1.0), targets(noise), quadratic(4.0),
        start_lr=0.05, end_lr=0.5, num_steps=37, ramp="linear",
    )  # fmt: skip
    assert curve.lr[[16, 36]] == pytest.approx([0.25, 0.5])
    if noise:  # without, the step at 1 / curvature lands on the minimum
        assert curve.gain_ratio[[16, 36]] == pytest.approx([0.5, 0.0], abs=1e-12)
    else:
        assert curve.gain_ratio[:17] == pytest.approx(1 - 2 * curve.lr[:17], abs=1e-6)


def test_reduction_prediction_and_relative_update_are_those_of_the_formula():
    model = Weights(3.0)
    curve = ramped(model, torch.optim.SGD(model.parameters(), lr=1.0), targets(0.0), quadratic(2.0), end_lr=0.3)
    weights = 3.0 * np.cumprod([1.0, *(1 - 2.0 * curve.lr)])
    assert curve.metrics["reduction"] == pytest.approx(weights[:-1] ** 2 - weights[1:] ** 2, rel=1e-9)
    assert curve.metrics["predicted_reduction"] == pytest.approx(curve.lr * (2 * weights[:-1]) ** 2, rel=1e-9)
    assert curve.metrics["relative_update"] == pytest.approx(2 * curve.lr, rel=1e-9)
    assert curve.metrics["rms_update"] == pytest.approx(curve.lr * 2 * weights[:-1], rel=1e-9)
    assert curve.metrics["gradient_norm"] == pytest.approx(2 * weights[:-1], rel=1e-6)
    measured = ["gain_ratio", "reduction", "predicted_reduction", "relative_update", "rms_update", "gradient_norm"]
    assert list(curve.to_frame().columns)[-6:] == measured


def test_parameter_groups_are_weighed_by_their_gradients():
    model = Weights(3.0, 4.0)
    optimizer = torch.optim.SGD([{"params": [model.parts[0]], "lr": 1.0}, {"params": [model.parts[1]], "lr": 0.1}])
    curve = ramped(model, optimizer, targets(0.0), quadratic(1.0), num_steps=20)
    first = curve.lr[0]  # at the first step: the weights are 3 and 4, and so are the gradients
    predicted = first * 9 + 0.1 * first * 16
    actual = 12.5 - ((3 * (1 - first)) ** 2 + (4 * (1 - 0.1 * first)) ** 2) / 2
    assert curve.gain_ratio[0] == pytest.approx(actual / predicted, rel=1e-9)


def test_under_clipping_the_prediction_is_that_of_the_whole_gradient():
    model = Weights([3.0, 4.0])
    curve = ramped(
        model, torch.optim.SGD(model.parameters(), lr=1.0), targets(0.0), quadratic(2.0), end_lr=1.0, clip_norm=0.5
    )
    distance, expected = 5.0, []
    for lr in curve.lr:
        clipped = min(1.0, 0.5 / (2 * distance + 1e-6))
        expected.append(1 - lr * clipped * 2 / 2)
        distance *= 1 - lr * clipped * 2
    assert min(expected) < 0.95
    assert curve.gain_ratio == pytest.approx(expected, abs=1e-9)


def test_accumulated_batches_are_judged_together():
    model = Weights(1.0)
    curve = ramped(
        model, torch.optim.SGD(model.parameters(), lr=1.0), targets(0.5), quadratic(1.0), accumulate=3, end_lr=1.5
    )
    assert curve.gain_ratio == pytest.approx(1 - curve.lr / 2, abs=1e-9)  # the mean of quadratics of one curvature


def test_weight_decay_is_part_of_the_step_and_not_of_the_loss():
    model = Weights(2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=0.5)
    curve = ramped(model, optimizer, [torch.ones((), dtype=DOUBLE)] * 2, quadratic(1.0), end_lr=0.5)
    first = curve.lr[0]
    gradient, step = 1.0, first * (1.0 + 0.5 * 2.0)
    assert curve.gain_ratio[0] == pytest.approx((0.5 - (1.0 - step) ** 2 / 2) / (gradient * step), rel=1e-9)


def test_sparse_gradients_give_the_numbers_of_dense_ones():
    def measured(sparse):
        torch.manual_seed(0)
        model = nn.Sequential(nn.EmbeddingBag(50, 4, mode="sum", sparse=sparse), nn.Linear(4, 3)).double()
        generator = torch.Generator().manual_seed(1)
        batches = [
            (torch.randint(50, (8, 5), generator=generator), torch.randint(3, (8,), generator=generator))
            for _ in range(9)
        ]
        return ramped(
            model, torch.optim.SGD(model.parameters(), lr=1.0), batches,
            lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        )  # fmt: skip

    sparse, dense = measured(True), measured(False)
    assert sparse.loss == pytest.approx(dense.loss, rel=1e-9)
    assert sparse.gain_ratio == pytest.approx(dense.gain_ratio, rel=1e-6)
    assert sparse.gain_ratio[0] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("loss_scale", [1.0, 1e6])
def test_what_drowns_in_the_rounding_of_the_loss_is_not_a_number(loss_scale):
    model = Weights(1.0).float()
    loss = quadratic(1.0)
    curve = ramped(
        model, torch.optim.SGD(model.parameters(), lr=1.0), [target.float() for target in targets(0.3)],
        lambda model, target: loss_scale * (1 + loss(model, target)), start_lr=1e-12 / loss_scale, end_lr=1.5 / loss_scale,
        num_steps=100,
    )  # fmt: skip
    known, small = np.isfinite(curve.gain_ratio), curve.lr * loss_scale < 1e-7
    assert not known[small].any()
    assert known[curve.lr * loss_scale > 1e-3].all()
    assert curve.gain_ratio[known] == pytest.approx(1 - curve.lr[known] * loss_scale / 2, abs=0.1)


def test_of_weights_that_are_all_zero_the_relative_update_is_infinite_and_nothing_is_said_aloud():
    model = Weights(0.0)
    curve = ramped(
        model, torch.optim.SGD(model.parameters(), lr=1.0), [torch.ones((), dtype=DOUBLE)] * 2, quadratic(1.0)
    )
    assert curve.metrics["relative_update"][0] == np.inf
    assert curve.gain_ratio[0] == pytest.approx(1 - curve.lr[0] / 2)


def test_complex_weights_are_pairs_of_numbers():
    model = nn.Module()
    model.weight = nn.Parameter(torch.tensor([3 - 1j, 2j], dtype=torch.complex128))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    curve = ramped(
        model, optimizer, targets(0.5), lambda model, target: (model.weight - target).abs().square().sum() / 2
    )
    assert curve.gain_ratio == pytest.approx(1 - curve.lr / 2, abs=1e-9)


def test_an_optimizer_that_writes_into_the_gradients_is_measured_by_them_as_they_were():
    def measured(foreach):
        model = Weights([3.0, 1.0], 2.0)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.5, nesterov=True, foreach=foreach)
        return ramped(model, optimizer, targets(0.5), quadratic(1.0), end_lr=0.3)

    plain, foreach = measured(False), measured(True)  # torch's foreach version adds the momentum to .grad itself
    assert foreach.loss == pytest.approx(plain.loss, rel=1e-12)
    assert np.isnan(foreach.gain_ratio[0])  # that it writes there shows at the first step only
    assert foreach.gain_ratio[1:] == pytest.approx(plain.gain_ratio[1:], rel=1e-9)


def test_a_parameter_without_gradient_counts_for_nothing():
    class Moving(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            with torch.no_grad():
                self.param_groups[0]["params"][-1].add_(1.0)

    model = Weights(3.0, 1.0)
    curve = ramped(
        model,
        Moving(model.parameters(), lr=1.0),
        targets(0.5),
        lambda model, target: (model.parts[0] - target) ** 2 / 2,
    )
    assert curve.gain_ratio == pytest.approx(1 - curve.lr / 2, abs=1e-9)


def test_a_parameter_of_two_optimizers_counts_once():
    model = Weights(3.0)
    optimizers = [torch.optim.SGD(model.parameters(), lr=1.0), torch.optim.SGD(model.parameters(), lr=0.5)]
    curve = ramped(model, optimizers, targets(0.5), quadratic(1.0), end_lr=1.0)
    assert curve.gain_ratio == pytest.approx(1 - 1.5 * curve.lr / 2, abs=1e-9)
