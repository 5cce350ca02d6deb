"""One contract for every schedule: the numbers are torch's own where torch has the schedule, and the papers' where not."""

import ast
import dataclasses
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

import lr_search.schedules
from lr_search.errors import InvalidInputError
from lr_search.schedules import SGDR, Constant, ExpRange, Schedule, Triangular, Triangular2

NUM_STEPS = 240


def torch_lrs(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], lr: float) -> list[float]:
    """The LR of each step under one of torch's schedulers."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make(optimizer)
    lrs = []
    for _ in range(NUM_STEPS):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return lrs


def torch_cyclic(mode: str, step_size: float, gamma: float = 1.0) -> list[float]:
    return torch_lrs(
        lambda optimizer: lr_scheduler.CyclicLR(
            optimizer, 0.02, 0.1, step_size_up=step_size, mode=mode, gamma=gamma, cycle_momentum=False
        ),
        0.02,
    )


def torch_warm_restarts(T_0: int, T_mult: int, eta_min: float) -> list[float]:
    return torch_lrs(
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0, T_mult, eta_min=eta_min), 0.1
    )


def walked_clr(step_size: float, height: Callable[[int, int], float], floor: Callable[[int], float]) -> list[float]:
    """Smith's policies, walked up and down: `height(t, whole cycles done)`, `floor(t)`."""
    lrs = []
    for t in range(NUM_STEPS):
        cycles, into = divmod(t, 2 * step_size)
        share = into / step_size if into <= step_size else (2 * step_size - into) / step_size
        lrs.append(floor(t) + height(t, int(cycles)) * share)
    return lrs


def walked_sgdr(T_0: float, T_mult: float, eta_min: float, eta_max: float, decay: float) -> list[float]:
    """Loshchilov and Hutter, equation 5, with T_cur walked from restart to restart."""
    lrs, T_i, begin, peak = [], T_0, 0.0, eta_max
    for t in range(NUM_STEPS):
        while t - begin >= T_i - 1e-9:
            begin, T_i, peak = begin + T_i, T_i * T_mult, max(eta_min, peak * decay)
        T_cur = t - begin
        lrs.append(eta_min + 0.5 * (peak - eta_min) * (1 + math.cos(math.pi * T_cur / T_i)))
    return lrs


CASES: dict[str, tuple[Schedule, Callable[[], list[float]]]] = {
    "constant": (Constant(0.1), lambda: [0.1] * NUM_STEPS),
    "triangular": (Triangular(0.02, 0.1, 20), lambda: torch_cyclic("triangular", 20)),
    "triangular2": (Triangular2(0.02, 0.1, 17), lambda: torch_cyclic("triangular2", 17)),
    "exp_range": (ExpRange(0.02, 0.1, 20, gamma=0.99), lambda: torch_cyclic("exp_range", 20, 0.99)),
    "exp_range, bounds": (
        ExpRange(0.02, 0.1, 20, gamma=0.99, decay="bounds"),
        lambda: walked_clr(20, lambda t, cycles: 0.08 * 0.99**t, lambda t: 0.02 * 0.99**t),
    ),
    "sgdr": (SGDR(0.0, 0.1, T_0=30), lambda: torch_warm_restarts(30, 1, 0.0)),
    "sgdr, floor": (SGDR(0.01, 0.1, T_0=30), lambda: torch_warm_restarts(30, 1, 0.01)),
    "sgdr, doubling": (SGDR(0.0, 0.1, T_0=16, T_mult=2), lambda: torch_warm_restarts(16, 2, 0.0)),
    "sgdr, tripling": (SGDR(0.0, 0.1, T_0=5, T_mult=3), lambda: torch_warm_restarts(5, 3, 0.0)),
    "sgdr, decay": (SGDR(0.01, 0.1, T_0=30, decay=0.4), lambda: walked_sgdr(30, 1, 0.01, 0.1, 0.4)),
    "sgdr, doubling, decay": (
        SGDR(0.0, 0.1, T_0=16, T_mult=2, decay=0.5),
        lambda: walked_sgdr(16, 2, 0.0, 0.1, 0.5),
    ),
    "triangular, fractional": (
        Triangular(0.02, 0.1, 12.5),
        lambda: walked_clr(12.5, lambda t, cycles: 0.08, lambda t: 0.02),
    ),
    "triangular, fractional, torch": (Triangular(0.02, 0.1, 240 / 14), lambda: torch_cyclic("triangular", 240 / 14)),
    "triangular2, fractional": (
        Triangular2(0.02, 0.1, 12.5),
        lambda: walked_clr(12.5, lambda t, cycles: 0.08 / 2**cycles, lambda t: 0.02),
    ),
    "exp_range, fractional": (
        ExpRange(0.02, 0.1, 12.5, gamma=0.98),
        lambda: walked_clr(12.5, lambda t, cycles: 0.08 * 0.98**t, lambda t: 0.02),
    ),
    "sgdr, fractional": (SGDR(0.0, 0.1, T_0=240 / 7), lambda: walked_sgdr(240 / 7, 1, 0.0, 0.1, 1.0)),
    "sgdr, fractional, growing": (
        SGDR(0.001, 0.1, T_0=240 / 15, T_mult=1.5, decay=0.9),
        lambda: walked_sgdr(240 / 15, 1.5, 0.001, 0.1, 0.9),
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def schedule(case: str) -> Schedule:
    return CASES[case][0]


def test_every_schedule_of_the_package_is_in_this_suite() -> None:
    public = {getattr(lr_search.schedules, name) for name in lr_search.schedules.__all__} - {Schedule}
    classes = {member for member in public if isinstance(member, type)}
    assert classes == {type(schedule) for schedule, _ in CASES.values()}


def test_each_step_has_the_lr_of_torch_or_the_paper(case: str) -> None:
    schedule, reference = CASES[case]
    np.testing.assert_allclose(schedule(np.arange(NUM_STEPS)), reference(), rtol=1e-9, atol=1e-12)


def test_a_number_gives_the_float_that_an_array_gives(schedule: Schedule) -> None:
    steps = np.arange(NUM_STEPS)
    one_by_one = [schedule(int(step)) for step in steps]
    assert all(type(lr) is float for lr in one_by_one)
    np.testing.assert_allclose(schedule(steps), one_by_one, rtol=1e-13, atol=1e-16)


def test_an_array_keeps_its_shape(schedule: Schedule) -> None:
    steps = np.arange(24)
    lrs = schedule(steps)
    assert lrs.dtype == np.float64
    np.testing.assert_array_equal(schedule(steps.reshape(2, 3, 4)), lrs.reshape(2, 3, 4))
    np.testing.assert_array_equal(schedule(steps.tolist()), lrs)
    assert schedule(np.empty((0, 3))).shape == (0, 3)


def test_it_survives_pickling(schedule: Schedule) -> None:
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy == schedule
    assert copy.describe() == schedule.describe()
    np.testing.assert_array_equal(copy(np.arange(NUM_STEPS)), schedule(np.arange(NUM_STEPS)))


def test_it_cannot_be_changed(schedule: Schedule) -> None:
    name = dataclasses.fields(schedule)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, name, 1.0)


def test_it_equals_another_with_the_same_numbers_and_no_other(schedule: Schedule) -> None:
    numbers = {field.name: getattr(schedule, field.name) for field in dataclasses.fields(schedule) if field.compare}
    assert type(schedule)(**numbers) == schedule
    assert hash(type(schedule)(**numbers)) == hash(schedule)
    for name, value in numbers.items():
        if not isinstance(value, str):
            closer = {name: value * 0.999 if name in ("gamma", "decay") else value * 1.001 + 1e-4}
            assert dataclasses.replace(schedule, **closer) != schedule, name
    assert schedule != numbers


def test_a_note_is_shown_and_does_not_count_for_equality() -> None:
    for schedule, _ in CASES.values():
        if not isinstance(schedule, Constant):
            noted = dataclasses.replace(schedule, note="laid out for a reason.")
            assert noted == schedule
            assert hash(noted) == hash(schedule)
            assert noted.describe() == f"{schedule.describe()} laid out for a reason."


def test_equal_numbers_of_different_kinds_are_different_schedules() -> None:
    assert Triangular(0.1, 1.0, 5) != Triangular2(0.1, 1.0, 5)
    assert ExpRange(0.1, 1.0, 5, gamma=0.9) != ExpRange(0.1, 1.0, 5, gamma=0.9, decay="bounds")


def test_its_description_is_one_line_that_holds_its_peak(schedule: Schedule) -> None:
    text = schedule.describe()
    assert "\n" not in text
    assert "0.1" in text


@pytest.mark.parametrize(
    ("schedule", "num_steps", "ends"),
    [
        (Constant(0.1), 100, []),
        (Triangular(0.1, 1.0, 5), 34, [10, 20, 30]),
        (Triangular2(0.1, 1.0, 5), 30, [10, 20, 30]),
        (ExpRange(0.1, 1.0, 5, gamma=0.9), 9, []),
        (Triangular(0.1, 1.0, 100 / 6), 100, [33, 67, 100]),
        (Triangular(0.1, 1.0, 100 / 14), 100, [14, 29, 43, 57, 71, 86, 100]),
        (SGDR(0.0, 1.0, T_0=10), 35, [10, 20, 30]),
        (SGDR(0.0, 1.0, T_0=10, T_mult=2), 70, [10, 30, 70]),
        (SGDR(0.0, 1.0, T_0=10, T_mult=2), 69, [10, 30]),
        (SGDR(0.0, 1.0, T_0=100 / 7, T_mult=2), 100, [14, 43, 100]),
        (SGDR(0.0, 1.0, T_0=8, T_mult=1.5), 38, [8, 20, 38]),
    ],
)
def test_cycles_end_where_their_lengths_add_up(schedule: Schedule, num_steps: int, ends: list[int]) -> None:
    assert schedule.cycle_ends(num_steps) == ends


@pytest.mark.parametrize("cycles", [3, 4, 7, 13])
def test_the_last_of_a_whole_number_of_cycles_ends_with_the_training(cycles: int) -> None:
    for num_steps in range(2 * cycles, 500):
        for schedule in (Triangular(0.1, 1.0, num_steps / (2 * cycles)), SGDR(0.0, 1.0, T_0=num_steps / cycles)):
            ends = schedule.cycle_ends(num_steps)
            assert len(ends) == cycles, (schedule, num_steps)
            assert ends[-1] == num_steps
            assert np.abs(ends - np.arange(1, cycles + 1) * num_steps / cycles).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("cycles", [3, 4, 6, 8])
def test_warm_restarts_are_at_the_top_even_where_their_place_is_rounded(cycles: int) -> None:
    whole = 2**cycles - 1
    for num_steps in range(whole, 2400, 3):
        starts = [num_steps * (2**i - 1) // whole for i in range(cycles) if num_steps * (2**i - 1) % whole == 0]
        schedule = SGDR(0.0, 1.0, T_0=num_steps / whole, T_mult=2)
        np.testing.assert_allclose(schedule(starts), 1.0, atol=1e-9, err_msg=str(num_steps))


BAD: list[tuple[Callable[[], Schedule], str, str]] = [
    (lambda: Constant(0.0), "lr must be positive", "lr=0.0"),
    (lambda: Constant(-0.1), "lr must be positive", "lr=-0.1"),
    (lambda: Constant(math.nan), "finite", "lr=nan"),
    (lambda: Constant(math.inf), "finite", "lr=inf"),
    (lambda: Triangular(-0.1, 1.0, 5), "base_lr must be positive", "base_lr=-0.1"),
    (lambda: Triangular(0.3, 0.1, 5), "max_lr must be above base_lr", "max_lr=0.1, base_lr=0.3"),
    (lambda: Triangular2(0.3, 0.3, 5), "max_lr must be above base_lr", "max_lr=0.3, base_lr=0.3"),
    (lambda: Triangular(0.1, math.inf, 5), "max_lr must be finite", "max_lr=inf"),
    (lambda: Triangular(0.1, math.nan, 5), "max_lr must be above base_lr", "max_lr=nan"),
    (lambda: Triangular(0.1, 1.0, 0.5), "step_size must be at least 1", "step_size=0.5"),
    (lambda: Triangular2(0.1, 1.0, math.inf), "step_size must be at least 1 step", "step_size=inf"),
    (lambda: ExpRange(0.1, 1.0, 0, gamma=0.9), "step_size must be at least 1", "step_size=0"),
    (lambda: ExpRange(0.1, 1.0, 5, gamma=0.0), "gamma must be above 0 and at most 1", "gamma=0.0"),
    (lambda: ExpRange(0.1, 1.0, 5, gamma=1.01), "gamma must be above 0 and at most 1", "gamma=1.01"),
    (lambda: ExpRange(0.1, 1.0, 5, gamma=0.9, decay="both"), "decay must be 'amplitude' or 'bounds'", "decay='both'"),
    (lambda: SGDR(-0.1, 1.0, 5), "base_lr must be at least 0", "base_lr=-0.1"),
    (lambda: SGDR(1.0, 0.5, 5), "max_lr must be above base_lr", "max_lr=0.5, base_lr=1.0"),
    (lambda: SGDR(0.0, math.inf, 5), "max_lr must be finite", "max_lr=inf"),
    (lambda: SGDR(0.0, 1.0, 0.9), "T_0 must be at least 1", "T_0=0.9"),
    (lambda: SGDR(0.0, 1.0, 5, T_mult=0.5), "T_mult must be at least 1", "T_mult=0.5"),
    (lambda: SGDR(0.0, 1.0, 5, decay=0.0), "decay must be above 0 and at most 1", "decay=0.0"),
    (lambda: SGDR(0.0, 1.0, 5, decay=2.0), "decay must be above 0 and at most 1", "decay=2.0"),
]


@pytest.mark.parametrize(("make", "rule", "value"), BAD, ids=[f"{value}, {rule}" for _, rule, value in BAD])
def test_a_number_that_breaks_a_rule_is_an_error_that_holds_both(
    make: Callable[[], Schedule], rule: str, value: str
) -> None:
    with pytest.raises(InvalidInputError) as error:
        make()
    assert rule in str(error.value)
    assert value in str(error.value)


def imported_at_import(node: ast.AST) -> set[str]:
    """The modules a file imports when it is imported itself: not those under TYPE_CHECKING or in a function."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {node.module or "."}
    for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    if for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return set()
    return set().union(*(imported_at_import(child) for child in ast.iter_child_nodes(node)))


def test_schedules_import_no_torch_themselves() -> None:
    files = sorted(Path(lr_search.schedules.__file__).parent.glob("*.py"))
    assert len(files) >= 5
    for file in files:
        for name in imported_at_import(ast.parse(file.read_text())):
            package = name.split(".")[0]
            assert package in sys.stdlib_module_names | {"numpy", "lr_search"}, f"{file.name} imports {name}"
            assert package != "lr_search" or name.startswith(("lr_search.schedules", "lr_search.errors")), file.name


def test_schedules_and_curves_load_without_torch_and_optuna() -> None:
    code = (
        "import sys, lr_search.schedules, lr_search.curve, lr_search.suggest, lr_search.prior\n"
        "print(sorted({'torch', 'optuna', 'matplotlib', 'ray', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
