"""`join` puts schedules one after the other, `warmup` a rise before any of them; the contract suite runs over both as well."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lr_search.schedules import SGDR, Constant, Cosine, Joined, OneCycle, Schedule, Triangular, by_name, join, warmup
from tests.helpers.schedule_cases import CASES, Harmonic
from tests.helpers.schedule_walks import NUM_STEPS

RAMPS = [(1, 0.0), (7, 0.3), (50, 0.0), (20, 1.0)]
STEPS = np.arange(NUM_STEPS)
WARMABLE = {name: case for name, case in CASES.items() if case.schedule(0) > 0}


@pytest.mark.parametrize("name", WARMABLE)
def test_a_warm_up_leads_in_a_line_to_the_first_lr_of_any_schedule_which_then_runs_as_ever(name: str) -> None:
    schedule = WARMABLE[name].schedule
    for num_steps, start_ratio in RAMPS:
        warmed = warmup(schedule, num_steps, start_ratio)
        first = schedule(0)
        rise = np.linspace(start_ratio * first, first, num_steps + 1)
        np.testing.assert_allclose(warmed(np.arange(num_steps + 1)), rise, rtol=1e-12)
        np.testing.assert_array_equal(warmed(STEPS + num_steps), schedule(STEPS))
        np.testing.assert_array_equal(warmed.momentum(STEPS + num_steps), schedule.momentum(STEPS))
        held = schedule.momentum(STEPS)[0]  # nan where the schedule leaves the momentum alone
        np.testing.assert_array_equal(warmed.momentum(np.arange(num_steps)), np.full(num_steps, held))


@pytest.mark.parametrize("name", WARMABLE)
def test_a_warm_up_moves_the_cycles_ends_by_its_length(name: str) -> None:
    schedule = WARMABLE[name].schedule
    for num_steps, _ in RAMPS:
        warmed = warmup(schedule, num_steps)
        assert warmed.cycle_ends(num_steps + NUM_STEPS) == [num_steps + end for end in schedule.cycle_ends(NUM_STEPS)]
        assert warmed.cycle_ends(num_steps) == []


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(CASES)))
def test_any_two_schedules_join_each_counting_from_its_own_beginning(first: str, second: str) -> None:
    one, other = CASES[first].schedule, CASES[second].schedule
    joined = join([one, other], [90])
    np.testing.assert_array_equal(joined(STEPS), np.concatenate([one(STEPS[:90]), other(STEPS[: NUM_STEPS - 90])]))
    before, after = one.momentum(STEPS[:90]), other.momentum(STEPS[: NUM_STEPS - 90])
    before = np.where(np.isnan(before), after[0], before)  # who leaves it alone holds what comes
    np.testing.assert_array_equal(joined.momentum(STEPS), np.concatenate([before, after]))
    ends = [*one.cycle_ends(90), *(90 + end for end in other.cycle_ends(NUM_STEPS - 90))]
    assert joined.cycle_ends(NUM_STEPS) == ends


@pytest.mark.parametrize(
    ("schedules", "boundaries", "num_steps", "ends"),
    [
        ([Triangular(0.1, 1.0, 5), Constant(0.1)], [20], 50, [10, 20]),  # a cycle may end with the schedule
        ([Triangular(0.1, 1.0, 5), Constant(0.1)], [19], 50, [10]),  # and does not end where it is cut short
        ([Constant(0.1), Triangular(0.1, 1.0, 5)], [7], 37, [17, 27, 37]),
        ([Constant(0.1), Triangular(0.1, 1.0, 5)], [7], 36, [17, 27]),
        ([Constant(0.1), Triangular(0.1, 1.0, 5)], [7], 7, []),
        ([SGDR(0.0, 1.0, 4, T_mult=2), SGDR(0.0, 1.0, 10), Triangular(0.1, 1.0, 2)], [12, 25], 33, [4, 12, 22, 29, 33]),
        ([SGDR(0.0, 1.0, 4, T_mult=2), SGDR(0.0, 1.0, 10), Triangular(0.1, 1.0, 2)], [12, 25], 21, [4, 12]),
    ],
)
def test_a_joined_schedule_has_the_cycles_that_end_before_the_next_begins(
    schedules: list[Schedule], boundaries: list[int], num_steps: int, ends: list[int]
) -> None:
    assert join(schedules, boundaries).cycle_ends(num_steps) == ends


def test_numpy_s_whole_numbers_are_boundaries_too_and_give_python_s_as_ends() -> None:
    joined = join([Constant(0.1), Triangular(0.1, 1.0, 5)], np.array([7]))
    assert joined == join([Constant(0.1), Triangular(0.1, 1.0, 5)], [7])
    ends = warmup(Triangular(0.1, 1.0, 5), np.int64(7)).cycle_ends(27)
    assert [(type(end), end) for end in ends + joined.cycle_ends(27)] == [(int, 17), (int, 27)] * 2


def test_fractional_steps_belong_to_the_schedule_that_has_begun() -> None:
    joined = join([Constant(1.0), Harmonic(1.0)], [10])
    assert joined([9.999, 10, 15]).tolist() == pytest.approx([1.0, 1.0, 1 / 1.5])


def test_joined_schedules_join_again() -> None:
    inner = join([Constant(1.0), Cosine(1.0, 10)], [5])
    outer = join([Constant(3.0), warmup(inner, 4)], [6])
    expected = [*[3.0] * 6, 0.0, 0.25, 0.5, 0.75, *[1.0] * 5, *(math.cos(math.pi * t / 20) ** 2 for t in range(11))]
    np.testing.assert_allclose(outer(np.arange(26)), expected, atol=1e-12)


def test_the_description_has_every_part_in_one_line_with_the_step_at_which_it_begins() -> None:
    parts = [Constant(0.3), Cosine(0.2, 10, note="For a reason."), Triangular(0.01, 0.1, 5)]
    text = join(parts, [20, 30]).describe()
    first, second, third = text.split("; ")
    assert first == "constant at 0.3"
    assert second == f"from step 20: {parts[1].describe().rstrip('.')}"
    assert third == f"from step 30: {parts[2].describe().rstrip('.')}"
    assert (
        warmup(parts[2], 12, 0.5).describe().startswith("linear from 0.005 to 0.01 in 12 steps. Warm-up; from step 12:")
    )


@dataclass(frozen=True)
class _Vectorized(Schedule):
    """A schedule whose `values` cannot take an empty array, as np.vectorize cannot."""

    def values(self, steps: np.ndarray) -> np.ndarray:
        return np.vectorize(lambda step: 0.1 if step < 3 else 0.01)(steps)

    def describe(self) -> str:
        return "a step at 3"


def test_a_part_is_asked_only_for_steps_of_its_own() -> None:
    joined: Joined = warmup(_Vectorized(), 2)
    assert joined(1) == pytest.approx(0.05)
    assert joined(2) == 0.1
    assert joined(5) == 0.01


def test_the_momentum_holds_what_the_next_schedule_that_moves_it_begins_with() -> None:
    low, high = OneCycle(0.1, 20, max_momentum=0.9), OneCycle(0.1, 20, max_momentum=0.97)
    momenta = join([Constant(0.1), low, Constant(0.1), high, Constant(0.1)], [5, 10, 15, 20]).momentum(np.arange(25))
    np.testing.assert_array_equal(momenta[:5], 0.9)
    np.testing.assert_array_equal(momenta[5:10], low.momentum(np.arange(5)))
    np.testing.assert_array_equal(momenta[10:15], 0.97)
    np.testing.assert_array_equal(momenta[15:20], high.momentum(np.arange(5)))
    assert np.isnan(momenta[20:]).all()


def test_a_momentum_cycle_after_a_warm_up_trains_rmsprop() -> None:
    # torch's RMSprop makes its momentum buffer at the first step, and only if there is a momentum then
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.RMSprop([parameter], lr=0.1)
    scheduler = by_name("one_cycle", lr=0.1, num_steps=30, warmup_steps=5).attach(optimizer)
    for _ in range(30):
        optimizer.zero_grad()
        (parameter**2).sum().backward()
        optimizer.step()
        scheduler.step()
    assert parameter.isfinite().all()
    assert (parameter != 1).all()
