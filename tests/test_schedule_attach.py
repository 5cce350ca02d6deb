"""`schedule.attach(optimizer)` does what setting the LR by hand does."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from lr_search.errors import InvalidInputError
from lr_search.schedules import SGDR, Constant, ExpRange, Schedule, Triangular, Triangular2

RATIOS = (1.0, 0.25, 3.0)
SCHEDULES: dict[str, Schedule] = {
    "constant": Constant(0.05),
    "triangular": Triangular(0.02, 0.1, 7),
    "triangular2": Triangular2(0.02, 0.1, 7.5),
    "exp_range": ExpRange(0.02, 0.1, 7, gamma=0.98),
    "exp_range, bounds": ExpRange(0.02, 0.1, 7, gamma=0.98, decay="bounds"),
    "sgdr": SGDR(0.0, 0.1, T_0=12),
    "sgdr, doubling": SGDR(0.001, 0.1, T_0=5.5, T_mult=2, decay=0.7),
}
NUM_STEPS = 45  # three cycles of each, and some


class Quadratic:
    """One parameter vector a group, pulled towards 1; the groups' LRs differ by RATIOS."""

    def __init__(self, optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD, **settings: Any) -> None:
        self.parameters = [torch.zeros(3, requires_grad=True) for _ in RATIOS]
        groups = [{"params": [p], "lr": 0.4 * r} for p, r in zip(self.parameters, RATIOS, strict=True)]
        self.optimizer = optimizer(groups, **settings)

    def step(self) -> None:
        self.optimizer.zero_grad()
        sum(((p - 1) ** 2).sum() for p in self.parameters).backward()
        self.optimizer.step()

    @property
    def lrs(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    @property
    def weights(self) -> torch.Tensor:
        return torch.stack([p.detach().clone() for p in self.parameters])


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return dict(torch.load(file, weights_only=True))


@pytest.fixture(params=SCHEDULES)
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return SCHEDULES[request.param]


def test_three_cycles_are_the_same_as_by_hand(schedule: Schedule) -> None:
    assert isinstance(schedule, Constant) or len(schedule.cycle_ends(NUM_STEPS)) >= 3
    attached, by_hand = Quadratic(momentum=0.9), Quadratic(momentum=0.9)
    scheduler = schedule.attach(attached.optimizer)
    assert isinstance(scheduler, lr_scheduler.LRScheduler)
    for step in range(NUM_STEPS):
        for group, ratio in zip(by_hand.optimizer.param_groups, RATIOS, strict=True):
            group["lr"] = schedule(step) * ratio
        assert attached.lrs == pytest.approx(by_hand.lrs, rel=1e-12)
        assert scheduler.get_last_lr() == attached.lrs
        attached.step()
        by_hand.step()
        torch.testing.assert_close(attached.weights, by_hand.weights, rtol=1e-6, atol=0)
        scheduler.step()


def test_an_lr_in_a_tensor_is_written_into_that_tensor() -> None:
    schedule = SCHEDULES["triangular"]
    parameter = torch.zeros(1, requires_grad=True)
    lr = torch.tensor(0.4, dtype=torch.float64)
    optimizer = torch.optim.Adam([parameter], lr=lr)
    scheduler = schedule.attach(optimizer)
    for step in range(NUM_STEPS):
        assert optimizer.param_groups[0]["lr"] is lr
        assert lr.item() == pytest.approx(schedule(step), rel=1e-12)
        optimizer.step()
        scheduler.step()


def test_a_saved_state_goes_on_mid_cycle(schedule: Schedule) -> None:
    whole, first = Quadratic(), Quadratic()
    scheduler, before = schedule.attach(whole.optimizer), schedule.attach(first.optimizer)
    for _ in range(17):
        for work, its in ((whole, scheduler), (first, before)):
            work.step()
            its.step()
    state = saved_and_loaded({"scheduler": before.state_dict(), "optimizer": first.optimizer.state_dict()})

    second = Quadratic()
    after = schedule.attach(second.optimizer)
    with torch.no_grad():
        for parameter, weights in zip(second.parameters, first.weights, strict=True):
            parameter.copy_(weights)
    second.optimizer.load_state_dict(state["optimizer"])
    after.load_state_dict(state["scheduler"])
    for step in range(17, NUM_STEPS):
        assert second.lrs == pytest.approx([schedule(step) * ratio for ratio in RATIOS], rel=1e-12)
        assert after.get_last_lr() == pytest.approx(second.lrs, rel=1e-12)
        for work, its in ((whole, scheduler), (second, after)):
            work.step()
            its.step()
        torch.testing.assert_close(second.weights, whole.weights, rtol=0, atol=0)


def test_loading_the_state_alone_sets_the_optimizer_s_lrs(schedule: Schedule) -> None:
    first = Quadratic()
    scheduler = schedule.attach(first.optimizer)
    for _ in range(9):
        first.step()
        scheduler.step()
    state = saved_and_loaded(scheduler.state_dict())

    other = Quadratic()
    other.optimizer.param_groups[1]["lr"] = 7.0  # the saved ratios count
    loaded = schedule.attach(other.optimizer)
    loaded.load_state_dict(state)
    assert other.lrs == pytest.approx([schedule(9) * ratio for ratio in RATIOS], rel=1e-12)
    assert loaded.state_dict() == state


def test_last_epoch_means_what_it_means_in_torch(schedule: Schedule) -> None:
    ours, torchs = Quadratic(), Quadratic()
    for work in (ours, torchs):
        for group in work.optimizer.param_groups:
            group["initial_lr"] = group["lr"]  # torch wants it for last_epoch >= 0
    attached = schedule.attach(ours.optimizer, last_epoch=12)
    reference = lr_scheduler.LambdaLR(torchs.optimizer, lambda step: schedule(step) / 0.4, last_epoch=12)
    for _ in range(20):
        assert ours.lrs == pytest.approx(torchs.lrs, rel=1e-12)
        for work, its in ((ours, attached), (torchs, reference)):
            work.step()
            its.step()


@dataclass(frozen=True)
class _WithMomentum(Schedule):
    """CLR with momentum moving against the LR, as torch's CyclicLR does it."""

    def values(self, steps: np.ndarray) -> np.ndarray:
        return Triangular(0.02, 0.1, 8)(steps)

    def momentum(self, step: float) -> float:
        return 0.95 - 0.1 * (Triangular(0.02, 0.1, 8)(step) - 0.02) / 0.08

    def describe(self) -> str:
        return "triangular with momentum"


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_a_schedule_s_momentum_is_set_too(optimizer: Callable[..., torch.optim.Optimizer]) -> None:
    settings = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
    ours = optimizer([torch.zeros(1, requires_grad=True)], lr=0.02, **settings)
    torchs = optimizer([torch.zeros(1, requires_grad=True)], lr=0.02, **settings)
    attached = _WithMomentum().attach(ours)
    reference = lr_scheduler.CyclicLR(torchs, 0.02, 0.1, step_size_up=8, base_momentum=0.85, max_momentum=0.95)
    for _ in range(NUM_STEPS):
        mine, theirs = ours.param_groups[0], torchs.param_groups[0]
        assert mine["lr"] == pytest.approx(theirs["lr"])
        if optimizer is torch.optim.SGD:
            assert mine["momentum"] == pytest.approx(theirs["momentum"])
        else:
            assert mine["betas"] == pytest.approx(theirs["betas"])
        for optim, scheduler in ((ours, attached), (torchs, reference)):
            optim.step()
            scheduler.step()


@pytest.mark.parametrize("lr", [0.0, -0.1])
def test_a_first_group_without_a_positive_lr_is_an_error(lr: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    optimizer.param_groups[0]["lr"] = lr
    with pytest.raises(InvalidInputError, match=f"lr must be positive .*but got lr={lr}"):
        Constant(0.1).attach(optimizer)
