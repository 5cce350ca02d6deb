"""`schedule.attach(optimizer)`, beside the contract (it writes what is written by hand, and goes on): states, torch's words, tensors."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from lr_search.errors import InvalidInputError
from lr_search.schedules import Constant, Linear, Schedule, Triangular, warmup
from tests.helpers.schedule_cases import CASES, Breathing

RATIOS = (1.0, 0.25)
TRIANGLES = Triangular(0.02, 0.1, 7)


class Quadratic:
    """One parameter vector a group, pulled towards 1; the groups' LRs differ by RATIOS."""

    def __init__(self, optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD, **settings: Any) -> None:
        self.parameters = [torch.zeros(3, requires_grad=True) for _ in RATIOS]
        groups = [{"params": [p], "lr": 0.4 * r} for p, r in zip(self.parameters, RATIOS, strict=True)]
        self.optimizer = optimizer(groups, **settings)

    def step(self) -> None:
        for parameter in self.parameters:
            parameter.grad = 2 * (parameter.detach() - 1)
        self.optimizer.step()

    @property
    def lrs(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    @property
    def momenta(self) -> list[float]:
        return [float(group["momentum"]) for group in self.optimizer.param_groups]


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return dict(torch.load(file, weights_only=True))


@pytest.fixture(params=CASES)
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return CASES[request.param].schedule


def test_an_lr_in_a_tensor_is_written_into_that_tensor() -> None:
    schedule = TRIANGLES
    parameter = torch.zeros(1, requires_grad=True)
    lr = torch.tensor(0.4, dtype=torch.float64)
    optimizer = torch.optim.Adam([parameter], lr=lr)
    scheduler = schedule.attach(optimizer)
    for step in range(45):
        assert optimizer.param_groups[0]["lr"] is lr
        assert lr.item() == pytest.approx(schedule(step), rel=1e-12)
        optimizer.step()
        scheduler.step()


def test_loading_the_state_alone_sets_the_optimizer_s_lrs_and_momentum(schedule: Schedule) -> None:
    first = Quadratic(momentum=0.9)
    scheduler = schedule.attach(first.optimizer)
    for _ in range(9):
        first.step()
        scheduler.step()
    state = saved_and_loaded(scheduler.state_dict())

    other = Quadratic(momentum=0.9)
    other.optimizer.param_groups[1]["lr"] = 7.0  # the saved ratios count
    loaded = schedule.attach(other.optimizer)
    loaded.load_state_dict(state)
    assert other.lrs == pytest.approx([schedule(9) * ratio for ratio in RATIOS], rel=1e-12)
    assert other.momenta == first.momenta
    assert loaded.get_last_lr() == other.lrs
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


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_a_user_s_schedule_moves_the_momentum_as_torch_s_does(optimizer: Callable[..., torch.optim.Optimizer]) -> None:
    settings = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
    ours, theirs = Quadratic(optimizer, **settings), Quadratic(optimizer, **settings)
    attached = Breathing(0.02, 0.1, 8).attach(ours.optimizer)
    bounds = [[lr * ratio for ratio in RATIOS] for lr in (0.02, 0.1)]
    reference = lr_scheduler.CyclicLR(theirs.optimizer, *bounds, 8, base_momentum=0.85, max_momentum=0.95)
    for _ in range(48):
        assert ours.lrs == pytest.approx(theirs.lrs)
        key = "momentum" if optimizer is torch.optim.SGD else "betas"
        for mine, its in zip(ours.optimizer.param_groups, theirs.optimizer.param_groups, strict=True):
            assert mine[key] == pytest.approx(its[key])
        for work, scheduler in ((ours, attached), (theirs, reference)):
            work.step()
            scheduler.step()


def test_the_ratios_outlast_a_warm_up_from_0_and_an_end_at_0() -> None:
    work = Quadratic()
    first = warmup(Linear(0.1, 5), 5).attach(work.optimizer)
    assert work.lrs == [0.0, 0.0]
    warmup(TRIANGLES, 5).attach(work.optimizer)  # while all LRs are 0
    for _ in range(11):
        work.step()
        first.step()
    assert work.lrs == [0.0, 0.0]
    Constant(0.1).attach(work.optimizer)
    assert work.lrs == pytest.approx([0.1 * ratio for ratio in RATIOS])


@pytest.mark.parametrize("lr", [0.0, -0.1])
def test_a_first_group_without_a_positive_lr_is_an_error(lr: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    optimizer.param_groups[0]["lr"] = lr
    with pytest.raises(InvalidInputError, match=f"lr must be positive .*but got lr={lr}"):
        Constant(0.1).attach(optimizer)


@pytest.mark.parametrize("steps_before", [0, 9])
def test_a_group_that_is_added_later_follows_at_its_ratio_to_the_first_as_built(steps_before: int) -> None:
    work = Quadratic()
    scheduler = TRIANGLES.attach(work.optimizer)
    for _ in range(steps_before):
        work.step()
        scheduler.step()
    work.parameters.append(torch.zeros(3, requires_grad=True))
    work.optimizer.add_param_group({"params": [work.parameters[-1]], "lr": 0.2})  # the first was built with 0.4
    for step in range(steps_before + 1, 30):
        work.step()
        scheduler.step()
        assert work.lrs == pytest.approx([TRIANGLES(step) * ratio for ratio in (*RATIOS, 0.5)], rel=1e-12)
        assert scheduler.get_last_lr() == work.lrs


def test_a_state_from_before_a_group_was_added_still_loads() -> None:
    before = Quadratic()
    scheduler = TRIANGLES.attach(before.optimizer)
    for _ in range(4):
        before.step()
        scheduler.step()
    later = Quadratic()
    later.optimizer.add_param_group({"params": [torch.zeros(3, requires_grad=True)], "lr": 0.2})
    loaded = TRIANGLES.attach(later.optimizer)
    loaded.load_state_dict(saved_and_loaded(scheduler.state_dict()))
    assert later.lrs == pytest.approx([TRIANGLES(4) * ratio for ratio in (*RATIOS, 0.5)], rel=1e-12)


def test_the_state_of_another_schedule_is_refused_and_nothing_moves() -> None:
    state = TRIANGLES.attach(Quadratic().optimizer).state_dict()
    work = Quadratic()
    scheduler = Constant(0.3).attach(work.optimizer)
    with pytest.raises(InvalidInputError, match=r"must be of the schedule .*saved=.Triangular.*attached=.Constant"):
        scheduler.load_state_dict(state)
    assert work.lrs == [0.3 * ratio for ratio in RATIOS]
    with pytest.raises(InvalidInputError, match="must be of the schedule"):  # told apart to the last digit
        Constant(0.3).attach(work.optimizer).load_state_dict(
            Constant(0.30000001).attach(Quadratic().optimizer).state_dict()
        )
    Constant(0.3).attach(work.optimizer).load_state_dict({"last_epoch": 3, "ratios": [1.0, 0.5]})  # as it once was
    assert work.lrs == [0.3, 0.15]


@pytest.mark.parametrize("state", [{}, {"last_epoch": 3}, {"last_epoch": 3, "ratios": [1.0, 0.5, 0.25]}])
def test_a_state_that_is_none_of_these_groups_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="state_dict must"):
        TRIANGLES.attach(Quadratic().optimizer).load_state_dict(state)


class Without(torch.optim.SGD):
    """Keeps no LR in its groups, as optimizers that take none."""

    def __init__(self, parameters: Any, how: str) -> None:
        super().__init__(parameters, lr=0.1)
        for group in self.param_groups:
            group["lr"] = None
            if how == "absent":
                del group["lr"]


@pytest.mark.parametrize("how", ["absent", "None"])
def test_an_optimizer_without_an_lr_is_refused(how: str) -> None:
    with pytest.raises(
        InvalidInputError, match=r"every parameter group of the optimizer must have an lr.*without=\[1\]"
    ):
        TRIANGLES.attach(Without([torch.zeros(1, requires_grad=True)], how))
