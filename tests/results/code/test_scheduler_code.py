"""The code of every schedule, run in plain torch, gives the schedule's own LRs and momenta at every step."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lr_search.errors import InvalidInputError
from lr_search.results.code.scheduler_code import SchedulerCode, scheduler_code
from lr_search.schedules import (
    SGDR,
    WSD,
    Constant,
    Cosine,
    Exponential,
    ExpRange,
    InverseSqrt,
    Linear,
    OneCycle,
    Polynomial,
    Schedule,
    StepDecay,
    Triangular,
    Triangular2,
    by_name,
    join,
    warmup,
)
from lr_search.schedules.source import number
from tests.helpers.schedule_cases import CASES, USERS, Harmonic
from tests.helpers.schedule_walks import NUM_STEPS

LR = 0.01234
OPTIONS = {
    "constant": [{}],
    "step": [{}, {"drops": 4, "gamma": 0.5}, {"drops": 5}, {"drops": 20, "gamma": 0.7}],
    "exponential": [{}, {"final_ratio": 0.3}],
    "polynomial": [{}, {"power": 0.5}, {"power": 3.0, "final_ratio": 0.1}, {"power": 1.7}],
    "linear": [{}, {"final_ratio": 0.1}, {"final_ratio": 1.0}],
    "cosine": [{}, {"final_ratio": 0.1}],
    "inverse_sqrt": [{}, {"timescale_share": 0.13}],
    "wsd": [{}, {"decay": "linear"}, {"decay_share": 0.37, "final_ratio": 0.02}],
    "triangular": [{}, {"cycles": 3, "base_ratio": 0.1}, {"step_size": 3.3}],
    "triangular2": [{}, {"cycles": 3, "base_ratio": 0.1}, {"step_size": 3}],
    "exp_range": [{}, {"cycles": 3, "base_ratio": 0.4}, {"final_ratio": 0.01}, {"decay": "bounds"}],
    "sgdr": [
        {},
        {"T_mult": 1.0},
        {"T_mult": 1.0, "cycles": 5, "base_ratio": 0.01},
        {"T_mult": 1.3, "base_ratio": 0.1},
        {"T_mult": 3, "T_0": 5},
        {"T_mult": 2, "T_0": 7, "base_ratio": 0.05},
        {"decay": 0.5, "base_ratio": 0.3},
        {"T_mult": 1, "T_0": 6, "decay": 0.8, "base_decay": 0.5, "base_ratio": 0.1},
    ],
    "one_cycle": [
        {},
        {"anneal": "linear"},
        {"three_phase": True, "pct_start": 0.4},
        {"three_phase": True, "anneal": "linear", "final_div_factor": 10.0},
        {"base_momentum": None, "div_factor": 7.0, "pct_start": 0.4},
        {"base_momentum": 0.7, "max_momentum": 0.9},
    ],
}


def optimizer_at(*lrs: float) -> torch.optim.Optimizer:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in lrs]
    return torch.optim.SGD(groups, momentum=0.9)


def run(code: SchedulerCode, num_steps: int, ratios=(1.0,), optimizer=None) -> tuple[np.ndarray, np.ndarray]:
    """Exec the code, take the steps: the LRs (steps, groups) and the first group's momenta (steps,)."""
    optimizer = optimizer or optimizer_at(*(code.first_lr * ratio for ratio in ratios))
    names = {"optimizer": optimizer}
    exec("\n".join([*code.needs, code.lines]), names)
    lrs, momenta = [], []
    for _ in range(num_steps):
        lrs.append([group["lr"] for group in optimizer.param_groups])
        momenta.append(optimizer.param_groups[0].get("momentum"))
        optimizer.step()
        if code.lines:
            names["scheduler"].step()
    return np.array(lrs), np.array(momenta, dtype=float)


def check(schedule: Schedule, num_steps: int, ratios=(1.0,)) -> SchedulerCode:
    code = scheduler_code(schedule, num_steps, groups=len(ratios))
    assert code is not None
    assert "lr_search" not in code.lines
    lrs, momenta = run(code, num_steps, ratios)
    wanted = schedule(np.arange(num_steps))
    for group, ratio in enumerate(ratios):
        np.testing.assert_allclose(lrs[:, group], ratio * wanted, rtol=1e-9, atol=1e-12 * ratio * wanted.max())
    moved = schedule.momentum(np.arange(num_steps))
    if not np.isnan(moved).any():
        np.testing.assert_allclose(momenta, moved, rtol=1e-9)
    elif np.isnan(moved).all():
        assert (momenta == 0.9).all()
    return code


def laid_out(name: str, num_steps: int, epochs: tuple[float | None, ...]) -> list[Schedule]:
    """Every layout of a schedule that a training so short has room for."""
    found = []
    for options, per_epoch, share in itertools.product(OPTIONS[name], epochs, (None, 0, 0.1, 0.33)):
        steps = None if share is None else int(share * num_steps)
        try:
            found.append(by_name(name, LR, num_steps, per_epoch, warmup_steps=steps, **options))
        except InvalidInputError:
            assert num_steps < 22, (name, options, steps)  # only the shortest has no room
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("num_steps", [7, 100, 301])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_layout_step_by_step(name, num_steps):
    schedules = laid_out(name, num_steps, (None, 10, 33.5))
    assert len(schedules) >= 2
    for schedule in schedules:
        check(schedule, num_steps)


@pytest.mark.long
@pytest.mark.parametrize("name", OPTIONS)
def test_every_layout_of_a_long_training(name):
    for schedule in laid_out(name, 3000, (33.5,)):
        check(schedule, 3000)


@pytest.mark.parametrize("name", OPTIONS)
def test_groups_keep_their_ratios(name):
    schedules = laid_out(name, 61, (None,))
    assert schedules
    for schedule in schedules:
        code = check(schedule, 61, ratios=(1.0, 0.25))
        assert not code.one_group_only
        alone = scheduler_code(schedule, 61)
        assert alone is not None
        lrs, _ = run(alone, 61, (1.0, 0.25))  # made for one group: whether the ratio is lost is what the field says
        assert alone.one_group_only == (not np.allclose(lrs[:, 1], lrs[:, 0] / 4, rtol=1e-9, atol=1e-12 * LR))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not isinstance(case.schedule, USERS)])
def test_against_the_papers_and_torch(name):
    case = CASES[name]
    code = scheduler_code(case.schedule, NUM_STEPS)
    if name == "joined, in part with momentum":
        assert code is None  # a user's schedule is in it
        return
    lrs, momenta = run(code, NUM_STEPS)
    np.testing.assert_allclose(lrs[:, 0], case.lrs(), rtol=1e-9, atol=1e-12 * 0.1)
    if case.momenta:
        np.testing.assert_allclose(momenta, case.momenta(), rtol=1e-9)


@pytest.mark.parametrize(
    ("schedule", "line"),
    [
        (Constant(0.1), ""),
        (StepDecay(0.1, 20), "scheduler = StepLR(optimizer, step_size=20, gamma=0.1)"),
        (StepDecay(0.1, 100 / 3), "scheduler = MultiStepLR(optimizer, milestones=[34, 67], gamma=0.1)"),
        (
            StepDecay(0.1, 21 / 2),
            "scheduler = MultiStepLR(optimizer, milestones=[11, 21, 32, 42, 53, 63, 74, 84, 95], gamma=0.1)",
        ),
        (Exponential(0.1, 0.9), "scheduler = ExponentialLR(optimizer, gamma=0.9)"),
        (Polynomial(0.1, 100, 2.0), "scheduler = PolynomialLR(optimizer, total_iters=100, power=2.0)"),
        (Linear(0.1, 100, 0.01), "scheduler = LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=100)"),
        (Linear(0.02, 50, 0.1), "scheduler = LinearLR(optimizer, start_factor=0.2, end_factor=1.0, total_iters=50)"),
        (Cosine(0.1, 100, 0.01), "scheduler = CosineAnnealingLR(optimizer, T_max=100, eta_min=0.01)"),
        (SGDR(0, 0.1, 20.0, 2.0), "scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=20, T_mult=2)"),
        (warmup(Constant(0.1), 5), "scheduler = LambdaLR(optimizer, lambda step: min(1.0, step / 5))"),
        (join([Exponential(0.1, 0.9), Constant(0.1)], [100]), "scheduler = ExponentialLR(optimizer, gamma=0.9)"),
    ],
)
def test_one_line_where_torch_has_the_schedule(schedule, line):
    code = scheduler_code(schedule, 100)
    assert (code.lines, code.first_lr) == (line, 0.1)
    check(schedule, 100)


@pytest.mark.parametrize(
    ("schedule", "kind"),
    [
        (Triangular(0.1, 0.4, 12.5), "CyclicLR("),
        (Triangular2(0.1, 0.4, 12.5), "CyclicLR("),
        (ExpRange(0.1, 0.4, 12.5, gamma=0.99), "CyclicLR("),
        (ExpRange(0.1, 0.4, 12.5, gamma=0.99, decay="bounds"), "LambdaLR("),
        (OneCycle(0.1, 100), "OneCycleLR("),
        (InverseSqrt(0.1, 10), "LambdaLR("),
        (WSD(0.1, 100, 20), "LambdaLR("),
        (StepDecay(0.1, 2.3, 0.9), "LambdaLR("),
        (Polynomial(0.1, 100, 2.0, 0.01), "LambdaLR("),
        (Cosine(0.1, 99.5), "LambdaLR("),
        (Cosine(0.1, 60, 0.01), "LambdaLR("),  # torch's own would rise again
        (Linear(0.1, 60.5), "LambdaLR("),
        (Polynomial(0.1, 60.5), "LambdaLR("),
        (SGDR(0, 0.1, 20.5), "LambdaLR("),
        (SGDR(0, 0.1, 20, 1.5), "LambdaLR("),
        (SGDR(0, 0.1, 20, 2, decay=0.5), "LambdaLR("),
        (OneCycle(0.1, 60, base_momentum=None), "LambdaLR("),
        (OneCycle(0.1, 60, anneal="linear", three_phase=True, base_momentum=None), "LambdaLR("),
        (warmup(Cosine(0.1, 90), 10), "SequentialLR("),
        (warmup(Cosine(0.1, 90), 10, start_ratio=0.2), "LinearLR("),
        (warmup(WSD(0.1, 90, 20), 10), "LambdaLR("),
        (join([Constant(0.1), StepDecay(0.1, 20), Polynomial(0.1, 30)], [10, 60]), "ConstantLR("),
        (join([Constant(0.1), Cosine(0.05, 40), Constant(0.01)], [10, 60]), "LambdaLR("),
        (warmup(join([Cosine(0.1, 20), Cosine(0.1, 70)], [20]), 10), "SequentialLR("),
        (join([Linear(0.1, 60, 0.05), Constant(0.05)], [40]), "LambdaLR("),  # the line is cut short
        (join([Linear(0.1, 40, 0.05), Constant(0.06)], [40]), "LambdaLR("),  # a jump
        (join([Linear(0.0, 10, 0.1), Cosine(0.1, 70)], [30]), "min(1.0, step / 10)"),
        (join([Cosine(0.1, 40), Constant(0.1)], [100]), "LambdaLR("),  # the second never begins
        (join([OneCycle(0.1, 40), Constant(0.004), Cosine(0.004, 20)], [40, 80]), "SequentialLR("),
        (join([OneCycle(0.1, 50, base_momentum=None), OneCycle(0.1, 60)], [50]), None),
        (join([OneCycle(0.1, 30), Constant(0.004), OneCycle(0.1, 30)], [30, 70]), None),
    ],
)
def test_the_kind_of_scheduler(schedule, kind):
    if kind is None:
        assert scheduler_code(schedule, 100) is None
    else:
        assert kind in check(schedule, 100).lines


def test_what_torch_cannot_say():
    @dataclass(frozen=True)
    class Mine(Cosine):
        pass

    assert scheduler_code(Harmonic(0.1), 100) is None
    assert scheduler_code(Mine(0.1, 100), 100) is None
    assert scheduler_code(warmup(Harmonic(0.1), 5), 100) is None
    assert scheduler_code(join([Constant(0.1), Harmonic(0.1)], [50]), 100) is None
    held = join([join([Constant(0.1), OneCycle(0.1, 50)], [60]), Constant(0.1)], [50])  # for a cycle that never begins
    assert held.momentum(0) == 0.95
    assert scheduler_code(held, 100) is None
    assert scheduler_code(OneCycle(0.1, 60), 100) is None  # OneCycleLR stops; the momentum would be left where it is


def test_no_momentum_is_asked_of_an_optimizer_without():
    optimizer = torch.optim.Adagrad([torch.zeros(1, requires_grad=True)], lr=0.004)
    schedule = OneCycle(0.1, 100)
    with pytest.raises(ValueError, match="must support momentum"):
        run(scheduler_code(schedule, 100), 100, optimizer=optimizer)
    lrs, _ = run(scheduler_code(schedule, 100, momentum=False), 100, optimizer=optimizer)
    np.testing.assert_allclose(lrs[:, 0], schedule(np.arange(100)), rtol=1e-9)
    assert scheduler_code(OneCycle(0.1, 60), 100, momentum=False) is not None  # then only the LR matters


def test_the_first_beta_moves_too():
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=0.004, betas=(0.5, 0.99))
    code = scheduler_code(OneCycle(0.1, 100), 100)
    run(code, 30, optimizer=optimizer)
    first, second = optimizer.param_groups[0]["betas"]
    assert first == pytest.approx(OneCycle(0.1, 100).momentum(30), rel=1e-9)
    assert second == 0.99


def test_numbers_lose_only_what_rounding_put_there():
    assert number(0.1 + 0.2) == "0.3"
    assert number(1e-7) == "1e-07"
    for value in (1 / 3, 0.9923794007708784, 1.0000000000001):
        assert float(number(value)) == value


@pytest.mark.parametrize("bad", [{"num_steps": 0}, {"num_steps": 2.5}, {"num_steps": 9, "groups": 0}])
def test_bad_numbers_get_a_message(bad):
    with pytest.raises(InvalidInputError, match="must be a whole number, at least 1, but got"):
        scheduler_code(Constant(0.1), **bad)
