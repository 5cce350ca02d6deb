"""The plateau: its rule is torch's own, but for the relative threshold below 0."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.controllers import ReduceOnPlateau
from lr_search.errors import InvalidInputError
from lr_search.schedules import Constant
from tests.helpers.case_ids import case_id
from tests.helpers.workloads import data, line


def evaluation(step: int, value: float, **changes: Any) -> lrs.Evaluation:
    return lrs.Evaluation(**({"step": step, "lr": 0.1, "train_loss": 9.0, "metrics": {"loss": value}} | changes))


def torch_plateau(values: list[float], mode: str, **settings: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, **settings)  # type: ignore[arg-type]
    lrs_after = []
    for value in values:
        scheduler.step(value)
        lrs_after.append(optimizer.param_groups[0]["lr"])
    return lrs_after


def our_plateau(values: list[float], direction: str, **settings: Any) -> list[float]:
    controller = ReduceOnPlateau(0.5, direction=direction, **settings)  # type: ignore[arg-type]
    control = controller.start(lrs.train(line(), Constant(0.1)))
    lr, lrs_after = 0.5, []
    for step, value in enumerate(values, start=1):
        changed = control(evaluation(step, value))
        lr = lr if changed is None else changed(0)
        lrs_after.append(lr)
    return lrs_after


def noisy_values(mode: str) -> Iterator[list[float]]:
    """Above 0, getting better."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        drift = np.linspace(0, 2, 40) * (1 if mode == "max" else -1)
        values = 6 + drift + rng.normal(size=40)
        values[7] = math.nan
        yield values.tolist()


SETTINGS = [
    {},
    {"patience": 0},
    {"patience": 2, "factor": 0.5},
    {"patience": 1, "cooldown": 3},
    {"patience": 0, "min_lr": 0.03, "factor": 0.3},
    {"patience": 1, "threshold": 0.2},
    {"patience": 1, "threshold": 0.3, "threshold_mode": "abs"},
    {"patience": 0, "eps": 0.02, "factor": 0.5},
]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("settings", SETTINGS, ids=case_id)
def test_the_plateau_lowers_the_lr_when_torch_does(settings: dict[str, Any], mode: str) -> None:
    direction = {"min": "minimize", "max": "maximize"}[mode]
    for values in noisy_values(mode):
        ours = our_plateau(values, direction, **settings)
        assert ours == torch_plateau(values, mode, **settings)
        assert len(set(ours)) > 1 or settings == {}, "nothing was lowered, so nothing was tested"


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("settings", SETTINGS, ids=case_id)
def test_below_0_the_plateau_lowers_the_lr_when_torch_does_of_the_mirrored_values(
    settings: dict[str, Any], mode: str
) -> None:
    direction = {"min": "maximize", "max": "minimize"}[mode]
    for values in noisy_values(mode):  # above 0, where torch's margin is one of the best's size
        assert our_plateau([-value for value in values], direction, **settings) == torch_plateau(
            values, mode, **settings
        )


@pytest.mark.parametrize("level", [-1e6, -1.0, -1e-6, 0.0, 1e-6, 1.0, 1e6])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_level_objective_is_a_plateau_wherever_it_lies(direction: str, level: float) -> None:
    assert our_plateau([level] * 7, direction, patience=1) == pytest.approx(
        [0.5, 0.5, 0.05, 0.05, 0.005, 0.005, 0.0005]
    )


@pytest.mark.parametrize(
    ("values", "lowered"),
    [
        ([-1.0, -1.05], True),  # better by a twentieth, which is less than a tenth
        ([-1.0, -1.15], False),
        ([0.0, -1e-9], False),  # of nothing, a tenth is nothing
        ([0.5, -0.5], False),
        ([-0.5, 0.5], True),
    ],
)
def test_the_relative_margin_is_a_share_of_the_bests_size(values: list[float], lowered: bool) -> None:
    ours = our_plateau(values, "minimize", patience=0, threshold=0.1)
    assert (ours[-1] < 0.5) is lowered


def test_the_plateau_trains_as_a_loop_of_ones_own_with_torch_s_scheduler() -> None:
    controller = ReduceOnPlateau(1.2, factor=0.5, patience=0)
    training = lrs.train(line(num_steps=60, eval_every=5, train_data=lambda: list(data())), controller, seed=3)
    evaluations = list(training)

    torch.manual_seed(3)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.2)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    used, batches = [], itertools.cycle(data())
    for _ in range(12):
        for _ in range(5):
            batch = next(batches)
            optimizer.zero_grad()
            ((model(batch[:, :1]) - batch[:, 1:]) ** 2).mean().backward()
            optimizer.step()
        used.append(optimizer.param_groups[0]["lr"])
        with torch.no_grad():
            scheduler.step(float(((model(data()[..., :1]) - data()[..., 1:]) ** 2).mean()))
    assert [each.lr for each in evaluations[1:]] == used
    assert len(set(used)) > 2
    for ours, theirs in zip(training.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_plateau_watches_the_objective_as_the_workload_directs() -> None:
    def scores(model: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (model(batch[:, :1]) - batch[:, 1:])[:, 0] ** 2, "score": torch.ones(len(batch))}

    work = line(metrics=scores, objective="score", direction="maximize")
    constant = [each.lr for each in lrs.train(work, ReduceOnPlateau(0.1, patience=0))]
    assert constant == pytest.approx([0.1, 0.1, 0.1, 0.01])  # never better than the first, the best at first
    falling = [each.lr for each in lrs.train(work, ReduceOnPlateau(0.1, metric="loss", patience=0))]
    assert falling == [0.1] * 4  # a loss is minimized, whatever the objective is
    train_loss = [each.lr for each in lrs.train(work, ReduceOnPlateau(0.1, metric="train_loss", patience=0))]
    assert train_loss == [0.1] * 4


def test_a_plateau_without_the_metric_it_watches_is_told_before_the_first_step() -> None:
    training = lrs.train(line(), ReduceOnPlateau(0.1, metric="accuracy"))
    with pytest.raises(InvalidInputError, match=r"but got 'accuracy'; reported: loss, train_loss\. Name one of these"):
        next(training)
    assert training.step == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0.0}, "lr must be positive and finite, but got lr=0.0"),
        ({"factor": 1.0}, "factor must lie between 0 and 1, but got factor=1.0"),
        ({"patience": -1}, "patience must be at least 0, but got patience=-1"),
        ({"min_lr": -0.1}, "min_lr must be at least 0, but got min_lr=-0.1"),
        ({"cooldown": -2}, "cooldown must be at least 0"),
        ({"threshold": -0.1}, "threshold must be at least 0"),
        ({"threshold_mode": "both"}, "threshold_mode must be 'rel' or 'abs', but got 'both'"),
        ({"direction": "down"}, "direction must be 'minimize', 'maximize' or None, but got 'down'"),
    ],
)
def test_a_plateau_s_numbers_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ReduceOnPlateau(**({"lr": 0.1} | arguments))
