"""How a training is cut into cycles: at least 3, 4 where they fit, the last ends with the training; or as was asked for."""

import itertools

import numpy as np
import pytest

from lr_search.errors import InvalidInputError
from lr_search.schedules import SGDR, ExpRange, Triangular, Triangular2, by_name
from tests.helpers.layouts import CLR, CYCLIC, LAYOUTS, LENGTHS


@pytest.mark.parametrize("name", CYCLIC)
def test_at_least_three_cycles_fit_and_the_last_ends_with_the_training(name: str) -> None:
    for num_steps, steps_per_epoch in LAYOUTS:
        ends = by_name(name, 0.1, num_steps, steps_per_epoch).cycle_ends(num_steps)
        assert len(ends) >= 3, (num_steps, steps_per_epoch)
        assert ends[-1] == num_steps, (num_steps, steps_per_epoch)
        assert ends == sorted(set(ends))


@pytest.mark.parametrize("name", CYCLIC)
def test_there_are_four_cycles_where_epochs_do_not_say_otherwise(name: str) -> None:
    for num_steps in LENGTHS:
        assert len(by_name(name, 0.1, num_steps).cycle_ends(num_steps)) == 4


@pytest.mark.parametrize("name", CLR)
def test_clr_runs_between_a_quarter_of_the_lr_and_the_lr(name: str) -> None:
    for num_steps, steps_per_epoch in LAYOUTS:
        schedule = by_name(name, 0.2, num_steps, steps_per_epoch)
        assert isinstance(schedule, Triangular | Triangular2 | ExpRange)
        assert schedule.base_lr == 0.05
        assert schedule(0) == pytest.approx(0.05)
        assert schedule(schedule.step_size) == pytest.approx(0.2)  # the peak, although exp_range has decayed by then
        assert schedule(num_steps) == pytest.approx(0.05, abs=1e-6)


def test_sgdr_starts_at_the_lr_and_anneals_to_zero() -> None:
    for num_steps, steps_per_epoch in LAYOUTS:
        schedule = by_name("sgdr", 0.2, num_steps, steps_per_epoch)
        assert isinstance(schedule, SGDR)
        assert schedule(0) == 0.2
        assert schedule(schedule.T_0 / 2) == pytest.approx(0.1)
        assert schedule(num_steps - 1e-4) == pytest.approx(0.0, abs=1e-6)
        first, second, third = (np.arange(3) * schedule.T_0 * (np.arange(3) + 1) / 2).tolist()  # 0, T_0, 3 T_0
        np.testing.assert_allclose(schedule([first, second, third]), 0.2)


def test_the_height_of_exp_range_is_down_to_a_tenth_at_the_end() -> None:
    schedule = by_name("exp_range", 0.2, 1000)
    assert isinstance(schedule, ExpRange)
    assert schedule.gamma**1000 == pytest.approx(0.1)


def test_half_a_clr_cycle_is_2_to_10_epochs_where_four_of_those_fit() -> None:
    checked = 0
    for num_steps, steps_per_epoch in LAYOUTS:
        if steps_per_epoch is not None and steps_per_epoch >= 1 and num_steps >= 16 * steps_per_epoch:
            schedule = by_name("triangular", 0.1, num_steps, steps_per_epoch)
            assert isinstance(schedule, Triangular)
            assert 2 <= schedule.step_size / steps_per_epoch <= 10
            checked += 1
    assert checked > 20


def test_sgdr_s_first_cycle_is_1_to_10_epochs_where_three_of_those_fit() -> None:
    checked = 0
    for num_steps, steps_per_epoch in LAYOUTS:
        if steps_per_epoch is not None and steps_per_epoch >= 1 and num_steps >= 7 * steps_per_epoch:
            schedule = by_name("sgdr", 0.1, num_steps, steps_per_epoch)
            assert isinstance(schedule, SGDR)
            assert 1 <= schedule.T_0 / steps_per_epoch <= 10
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("name", CYCLIC)
def test_the_count_wins_over_the_length_and_the_description_says_so(name: str) -> None:
    short = by_name(name, 0.1, num_steps=300, steps_per_epoch=100).describe()
    assert "3 cycles" in short
    assert "below the papers'" in short
    assert "since at least 3 cycles come first" in short
    assert "below the papers'" not in by_name(name, 0.1, num_steps=3000, steps_per_epoch=100).describe()
    assert "epochs" not in by_name(name, 0.1, num_steps=300).describe()


@pytest.mark.parametrize(("name", "least"), [*((name, 6) for name in CLR), ("sgdr", 7)])
def test_three_cycles_of_the_shortest_kind_fit_and_a_step_less_is_an_error(name: str, least: int) -> None:
    for steps_per_epoch in (None, 0.01, 1, 1000):
        assert len(by_name(name, 0.1, least, steps_per_epoch).cycle_ends(least)) == 3
        for num_steps in range(1, least):
            with pytest.raises(InvalidInputError, match=rf"at least {least} steps.*num_steps={num_steps}\."):
                by_name(name, 0.1, num_steps, steps_per_epoch)


@pytest.mark.parametrize("name", CYCLIC)
def test_epochs_of_less_than_a_step_ask_for_no_more_cycles_than_fit(name: str) -> None:
    for num_steps, steps_per_epoch in itertools.product(range(8, 130), (0.001, 0.05, 0.3, 0.9)):
        ends = by_name(name, 0.1, num_steps, steps_per_epoch).cycle_ends(num_steps)
        assert len(ends) >= 3
        assert ends[-1] == num_steps
