"""One cycle is torch's OneCycleLR in every option, for the momentum of SGD and the first beta of Adam."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from lr_search.schedules import Constant, OneCycle, join, warmup
from tests.helpers.case_ids import case_id

RATIOS = (1.0, 0.25)
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": torch.optim.SGD, "adam": torch.optim.AdamW}
SHAPES: list[dict[str, Any]] = [
    {"anneal": anneal, "three_phase": three_phase, **rest}
    for anneal, three_phase, rest in itertools.product(
        ["cos", "linear"],
        [False, True],
        [
            {},
            {"pct_start": 0.5, "div_factor": 10.0, "final_div_factor": 1.0},
            {"pct_start": 0.13, "final_div_factor": 50.0, "base_momentum": 0.5, "max_momentum": 0.9},
            {"base_momentum": None},
        ],
    )
]


def torchs_names(shape: dict[str, Any]) -> dict[str, Any]:
    named = {"anneal_strategy" if name == "anneal" else name: value for name, value in shape.items()}
    if named.get("base_momentum", 0.85) is None:
        return named | {"base_momentum": 0.0, "cycle_momentum": False}
    return named


def optimizer_of(kind: str) -> torch.optim.Optimizer:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": 0.4 * ratio} for ratio in RATIOS]
    return OPTIMIZERS[kind](groups, **({"momentum": 0.7} if kind == "sgd" else {"betas": (0.7, 0.99)}))


def written(optimizer: torch.optim.Optimizer) -> list[float]:
    """What a scheduler writes: each group's LR, and its momentum or its betas."""
    groups = optimizer.param_groups
    return [x for g in groups for x in (g["lr"], *(g["betas"] if "betas" in g else (g["momentum"],)))]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("shape", SHAPES, ids=case_id)
def test_attached_it_writes_what_torch_writes(kind: str, shape: dict[str, Any]) -> None:
    for num_steps in (8, 77, 100):  # a rise of 0.13 * 8 steps is no longer than 0.04 of one
        ours, theirs = optimizer_of(kind), optimizer_of(kind)
        attached = OneCycle(0.1, num_steps, **shape).attach(ours)
        peaks = [0.1 * ratio for ratio in RATIOS]
        reference = lr_scheduler.OneCycleLR(theirs, peaks, num_steps, **torchs_names(shape))
        for step in range(num_steps):
            np.testing.assert_allclose(written(ours), written(theirs), rtol=1e-9, err_msg=f"{step} of {num_steps}")
            ours.step()
            theirs.step()
            if step < num_steps - 1:
                attached.step()
                reference.step()


@pytest.mark.parametrize("shape", SHAPES, ids=case_id)
def test_its_last_lr_and_momentum_are_kept_where_torch_would_raise(shape: dict[str, Any]) -> None:
    schedule = OneCycle(0.1, 77, **shape)
    assert schedule([77, 78.5, 10_000]).tolist() == [schedule(76)] * 3
    assert schedule.momentum(10_000) == schedule.momentum(76)


def test_it_peaks_once_at_its_max_lr_with_the_least_momentum() -> None:
    for shape in SHAPES:
        schedule = OneCycle(0.1, 100, **shape)
        fine = np.linspace(0, 99, 9901)
        lrs, momenta = schedule(fine), schedule.momentum(fine)
        peak = int(lrs.argmax())
        assert lrs.max() == pytest.approx(0.1, rel=1e-9)
        assert fine[peak] == pytest.approx(schedule.pct_start * 100 - 1)
        assert (np.diff(lrs[: peak + 1]) > 0).all()
        assert (np.diff(lrs[peak:]) <= 1e-15).all()
        if schedule.base_momentum is None:
            assert np.isnan(momenta).all()
        else:
            assert momenta.argmin() == pytest.approx(peak, abs=1)
            assert momenta.min() == pytest.approx(schedule.base_momentum, rel=1e-9)
            assert momenta[[0, -1]].tolist() == pytest.approx([schedule.max_momentum] * 2)


def test_in_three_phases_it_comes_down_to_where_it_began_as_fast_as_it_went_up() -> None:
    schedule = OneCycle(1.0, 101, pct_start=41 / 101, three_phase=True, anneal="linear", final_div_factor=100.0)
    np.testing.assert_allclose(schedule([0, 20, 40, 60, 80, 100]), [0.04, 0.52, 1.0, 0.52, 0.04, 0.0004])
    np.testing.assert_allclose(schedule.momentum([0, 40, 80, 90, 100]), [0.95, 0.85, 0.95, 0.95, 0.95])


def test_a_warm_up_holds_the_first_momentum_and_a_constant_after_it_leaves_it_alone() -> None:
    cycle = OneCycle(0.1, 50)
    schedule = join([warmup(cycle, 10), Constant(0.01)], [60])
    assert schedule.momentum(0) == schedule.momentum(9) == 0.95
    assert schedule.momentum(10) == cycle.momentum(0) == 0.95
    assert schedule.momentum(30) == cycle.momentum(20)
    assert schedule.momentum(60) is None
    optimizer = optimizer_of("adam")
    attached = schedule.attach(optimizer)
    betas = []
    for _ in range(65):
        betas.append(optimizer.param_groups[1]["betas"])
        optimizer.step()
        attached.step()
    assert betas[:11] == [(0.95, 0.99)] * 11
    assert betas[10:60] == [(pytest.approx(cycle.momentum(step)), 0.99) for step in range(50)]
    assert betas[60:] == [betas[59]] * 5


def test_an_optimizer_without_momentum_follows_the_lr_alone() -> None:
    optimizer = torch.optim.Adagrad([torch.zeros(1, requires_grad=True)], lr=0.1)
    before = {name: value for name, value in optimizer.param_groups[0].items() if name not in ("lr", "params")}
    attached = OneCycle(0.1, 20).attach(optimizer)
    for step in range(20):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(OneCycle(0.1, 20)(step))
        optimizer.step()
        attached.step()
    after = optimizer.param_groups[0]
    assert {name: after[name] for name in before} == before
