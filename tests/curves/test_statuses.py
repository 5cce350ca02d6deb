"""Each status, reached by the range test of a real small training."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.curves.prior import LRPrior


def digits(**settings: object) -> lrs.Workload:
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 8 - 1, dtype=torch.float32), torch.tensor(classes)
    settings = {"optimizer": partial(torch.optim.SGD, momentum=0.9), "batch_size": 32, **settings}
    settings.setdefault("model", lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)))
    return lrs.classification(train=(x[:1500], y[:1500]), valid=(x[1500:], y[1500:]), device="cpu", **settings)


@pytest.mark.parametrize("gain_ratio", [None, False])
def test_a_usual_training_is_ok(gain_ratio: bool | None) -> None:
    curve = digits().range_test(gain_ratio=gain_ratio)
    suggestion = curve.suggest()
    assert suggestion.status == "ok"
    assert ("half their promise" in suggestion.reason) is (gain_ratio is None)
    workload = digits(num_steps=150, eval_every=150)
    before, after = (e.metrics["loss"] for e in lrs.train(workload, lrs.schedules.Constant(suggestion.lr)))
    assert after < 0.3 * before  # that LR trains it


def test_targets_that_cannot_be_learnt_are_flat_and_the_blow_up_tells_all_the_same() -> None:
    noise = torch.randn(64, 8, 2, generator=torch.Generator().manual_seed(0))
    workload = lrs.Workload(
        model=lambda: nn.utils.skip_init(nn.Linear, 1, 1).requires_grad_(True).apply(_zero),
        optimizer=torch.optim.SGD,
        loss=lambda model, batch: ((model(batch[:, :1]) - batch[:, 1:]) ** 2).mean(),
        train_data=lambda: noise,
        valid_data=lambda: noise,
        device="cpu",
    )
    curve = workload.range_test()
    suggestion = curve.suggest()
    assert suggestion.status == "flat"
    assert "no descent stands out" in suggestion.reason
    assert "half their promise" in suggestion.reason
    assert suggestion.lr < 2  # 2 / curvature, and the curvature is 2


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def test_a_ramp_that_ends_too_early_is_at_the_edge_and_extend_moves_its_end() -> None:
    curve = digits().range_test(end_lr=3e-3)
    assert curve.suggest().status == "at_edge"
    assert "raise end_lr above 0.003, or extend=True" in curve.suggest().reason
    extended = digits().range_test(end_lr=3e-3, extend=True)
    assert extended.suggest().status == "ok"
    assert extended.lr[-1] > 0.03
    assert extended.loss[: len(curve.loss)].tolist() == curve.loss.tolist()


def test_a_ramp_that_begins_too_high_is_at_the_edge_and_extend_moves_its_start() -> None:
    curve = digits().range_test(start_lr=0.3)
    assert curve.suggest().status == "at_edge"
    assert "lower start_lr below 0.3, or extend=True" in curve.suggest().reason
    extended = digits().range_test(start_lr=0.3, extend=True)
    assert extended.suggest().status in ("ok", "noisy")
    assert extended.lr[0] < 1e-3
    assert extended.num_steps > len(extended.lr)  # what the first try took is counted


def test_a_blow_up_in_the_first_steps_says_so() -> None:
    suggestion = digits().range_test(start_lr=30.0, end_lr=1e4).suggest()
    assert suggestion.status == "diverged_at_start"
    assert suggestion.lr == pytest.approx(3.0)
    assert "lower start_lr below 30" in suggestion.reason


def test_a_curve_like_those_that_misled_is_noisy() -> None:
    """Where the gain ratio falls long before the blow-up, and one step is promised more than the whole descent."""
    lr = np.geomspace(1e-7, 10, 101)
    ratio = np.interp(np.log10(lr), [-7, -3, -2, 1], [1.0, 1.0, 0.2, 0.2])  # falls slowly, and never to 0
    predicted = 3e4 * lr
    loss = np.interp(np.log10(lr), [-7, -4, -2.5, 1], [2.3, 2.3, 1.3, 2.0])
    measured = {"reduction": ratio * predicted, "predicted_reduction": predicted, "relative_update": 1e4 * lr}
    measured |= {"rms_update": lr, "gradient_norm": np.ones(101)}
    odd = lrs.LRCurve(
        lr, loss, gain_ratio=ratio, metrics=measured, optimizer={"scaling": 1.0, "gain": 1.0, "fade": 0.0}
    )
    assert odd.suggest().status == "noisy"
    assert "train at a few LRs around it" in odd.suggest().reason


class Scaled(nn.Module):
    """A model that multiplies its outputs by a number that differs a lot from seed to seed."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        self.register_buffer("scale", 10 ** (4 * torch.rand(()) - 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * self.layers(x)


def test_seeds_that_disagree_are_noisy() -> None:
    pooled = digits(model=Scaled).range_test(seeds=4, extend=True)
    suggestion = pooled.suggest()
    places = np.log10([member.suggest().lr for member in pooled.members])
    assert suggestion.status == "noisy"
    assert f"4 seeds scatter by {places.std(ddof=1):.2g} decades" in suggestion.reason
    assert suggestion.log10_std > places.std(ddof=1)
    assert LRPrior.from_curves([pooled]).log10_std > LRPrior.from_curves([pooled.members[0]]).log10_std


def test_seeds_that_agree_are_pooled_into_one_answer() -> None:
    pooled = digits().range_test(seeds=3, extend=True)
    assert pooled.suggest().status == "ok"
    assert pooled.steps_charged == sum(member.steps_charged for member in pooled.members)
    assert np.log10(pooled.suggest().lr) == pytest.approx(
        np.mean([np.log10(member.suggest().lr) for member in pooled.members])
    )
