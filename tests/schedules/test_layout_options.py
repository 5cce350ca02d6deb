"""Every rule of a layout can be chosen otherwise, and searched within its ranges; `describe()` says what was chosen and why."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lr_search import plugins
from lr_search.errors import InvalidInputError
from lr_search.schedules import SGDR, WSD, ExpRange, OneCycle, Polynomial, Schedule, StepDecay, by_name
from lr_search.schedules.layout import Range, ranges_of
from lr_search.testing.layout_contract import corners_of
from tests.helpers.case_ids import case_id
from tests.helpers.layouts import CLR, CYCLIC, KINDS, laid_out

EXP_RANGE = [
    {"base_ratio": base_ratio, "cycles": cycles, "decay": decay, **pace}
    for base_ratio, cycles, decay, pace in itertools.product(
        [0.01, 0.25, 0.9],
        [1, 4, 20],
        ["amplitude", "bounds"],
        [{"final_ratio": 1.0}, {"final_ratio": 0.01}, {"final_ratio": 1e-9}, {"gamma": 0.999}, {"gamma": 0.7}],
    )
]


def peak(schedule: Schedule, num_steps: int = 300) -> float:
    return float(schedule(np.linspace(0, num_steps, 100 * num_steps + 1)).max())


@pytest.mark.parametrize("name", CYCLIC)
def test_so_many_cycles_as_asked_for(name: str) -> None:
    for cycles in (1, 2, 3, 5, 7, np.int64(7)):
        schedule = laid_out(name, cycles=cycles)
        ends = schedule.cycle_ends(300)
        assert len(ends) == cycles
        assert ends[-1] == 300
        assert peak(schedule) == pytest.approx(0.2, rel=1e-3)
        assert f"{cycles} cycle{'s' if cycles > 1 else ''} as asked for, the last ends with" in schedule.describe()


@pytest.mark.parametrize("name", CLR)
def test_half_a_cycle_as_long_as_asked_for(name: str) -> None:
    schedule = laid_out(name, step_size=40)
    assert schedule.step_size == 40
    assert schedule.cycle_ends(300) == [80, 160, 240]
    assert "step_size as asked for; the training ends 60 steps into a cycle" in schedule.describe()
    whole = laid_out(name, step_size=37.5)
    assert whole.cycle_ends(300) == [75, 150, 225, 300]
    assert "into a cycle" not in whole.describe()
    assert laid_out(name, step_size=150).cycle_ends(300) == [300]


@pytest.mark.parametrize("name", CLR)
def test_the_base_as_low_as_asked_for(name: str) -> None:
    for base_ratio in (0.01, 0.5, 0.99):
        schedule = laid_out(name, base_ratio=base_ratio)
        assert schedule.base_lr == schedule(0) == pytest.approx(0.2 * base_ratio)
        assert peak(schedule) == pytest.approx(0.2, rel=1e-3)
        assert f"base_lr is {base_ratio:.3g} of the peak as asked for." in schedule.describe()
    assert "base_lr is 0.25 of the peak (Smith: 1/3 or 1/4)." in laid_out(name).describe()


@pytest.mark.parametrize("options", EXP_RANGE, ids=case_id)
def test_exp_range_peaks_at_the_lr_however_fast_it_decays(options: dict[str, Any]) -> None:
    schedule = laid_out("exp_range", **options)
    assert isinstance(schedule, ExpRange)
    assert schedule.decay == options["decay"]
    assert schedule.base_lr == pytest.approx(0.2 * options["base_ratio"])
    assert schedule.gamma == pytest.approx(options.get("gamma", options.get("final_ratio", 0) ** (1 / 300)))
    fine = schedule(np.linspace(0, 300, 600_001))
    assert fine.max() == pytest.approx(0.2, rel=1e-4)
    assert fine.max() <= 0.2 * (1 + 1e-9)


def test_exp_range_says_what_decays_and_how_much_is_left() -> None:
    assert "0.1 of its height is left at the end" in laid_out("exp_range").describe()
    assert (
        "0.02 of both bounds is left at the end" in laid_out("exp_range", final_ratio=0.02, decay="bounds").describe()
    )
    bounds = laid_out("exp_range", decay="bounds")
    assert bounds(300) == pytest.approx(0.1 * bounds(0))
    assert laid_out("exp_range", final_ratio=1.0)(225 - 37.5) == pytest.approx(0.2)


def test_sgdr_as_asked_for() -> None:
    equal = laid_out("sgdr", T_mult=1)
    assert equal.cycle_ends(300) == [75, 150, 225, 300]
    growing = laid_out("sgdr", T_mult=1.5, cycles=4)
    np.testing.assert_allclose(np.diff([0, *growing.cycle_ends(300)]), 300 / 8.125 * 1.5 ** np.arange(4), atol=1)
    first = laid_out("sgdr", T_0=50)
    assert first.cycle_ends(300) == [50, 150]
    assert "T_0 as asked for; the training ends 150 steps into a cycle" in first.describe()
    assert "into a cycle" not in laid_out("sgdr", T_0=100).describe()
    decaying = laid_out("sgdr", T_mult=1, base_ratio=0.3, decay=0.8, base_decay=0.5)
    assert isinstance(decaying, SGDR)
    np.testing.assert_allclose(decaying([0, 75, 150, 225]), 0.2 * 0.8 ** np.arange(4))
    np.testing.assert_allclose(decaying(np.array([75, 150, 225, 300]) - 1e-4), 0.06 * 0.5 ** np.arange(4), rtol=1e-5)


def test_the_decays_as_asked_for() -> None:
    steps = laid_out("step", drops=4, gamma=0.5)
    assert isinstance(steps, StepDecay)
    np.testing.assert_allclose(steps([59, 60, 119, 120, 180, 240, 299]), 0.2 / 2 ** np.array([0, 1, 1, 2, 3, 4, 4]))
    assert "4 drops at equal distances" in steps.describe()
    assert "1 drop at equal distances" in laid_out("step", drops=1).describe()
    assert laid_out("exponential", final_ratio=0.25)([150, 300]) == pytest.approx([0.1, 0.05])
    assert "0.25 of the peak is left at the end" in laid_out("exponential", final_ratio=0.25).describe()
    power = laid_out("polynomial", power=3, final_ratio=0.5)
    assert isinstance(power, Polynomial)
    assert power([0, 150, 300]) == pytest.approx([0.2, 0.1 + 0.1 / 8, 0.1])
    assert laid_out("linear", final_ratio=0.5)([0, 150, 300]) == pytest.approx([0.2, 0.15, 0.1])
    assert laid_out("cosine", final_ratio=0.5)([0, 150, 300]) == pytest.approx([0.2, 0.15, 0.1])
    for name in ("polynomial", "linear", "cosine"):
        assert "It ends with the training." in laid_out(name).describe()


def test_the_schedules_with_a_warm_up_as_asked_for() -> None:
    root = laid_out("inverse_sqrt", timescale_share=0.2, warmup_steps=50)
    assert root([0, 25, 50, 200]) == pytest.approx([0, 0.1, 0.2, 0.1])
    assert "The scale is 0.2 of the steps as asked for" in root.describe()
    assert "on a scale of 15 steps. The scale is the warm-up's length" in laid_out("inverse_sqrt").describe()
    assert "a twentieth of the training" in laid_out("inverse_sqrt", warmup_steps=0).describe()
    stable = laid_out("wsd", warmup_steps=0, decay_share=0.5, final_ratio=0.1, decay="linear")
    assert stable == WSD(0.2, 300, 150, 0.2 * 0.1, "linear")
    assert "The decay takes 0.5 of the steps and ends with the training." in stable.describe()
    assert "linear from 0 to 0.2 in 15 steps. Warm-up; from step 15: 0.2 for 228 steps" in laid_out("wsd").describe()


def test_one_cycle_as_asked_for() -> None:
    options: dict[str, Any] = {
        "pct_start": 0.4,
        "div_factor": 10.0,
        "final_div_factor": 100.0,
        "anneal": "linear",
        "three_phase": True,
        "base_momentum": 0.8,
        "max_momentum": 0.9,
    }
    schedule = laid_out("one_cycle", **options)
    assert schedule == OneCycle(0.2, 300, **options)
    assert laid_out("one_cycle", base_momentum=None).momentum(10) is None
    assert "One cycle, as long as the training." in schedule.describe()


@pytest.mark.parametrize("name", CYCLIC)
def test_the_epochs_of_what_was_asked_for_are_told_beside_the_papers(name: str) -> None:
    which, least = ("the first", 1) if name == "sgdr" else ("half a", 2)
    asked = laid_out(name, cycles=8).describe()
    assert f"{which} cycle is " in asked
    assert f"epochs (the papers: {least} to 10)." in asked
    assert "come first" not in asked


@pytest.mark.parametrize("name", CYCLIC)
def test_everywhere_in_the_ranges_that_are_searched_the_cycles_are_as_many_as_asked_for(name: str) -> None:
    layout: Callable[..., Schedule] = plugins.load_plugin(plugins.SCHEDULES, name)
    for options, steps_per_epoch in itertools.product(corners_of(layout), (None, 1, 10, 100)):
        ends = by_name(name, 0.2, 300, steps_per_epoch, **options).cycle_ends(300)
        assert len(ends) == options["cycles"]
        assert ends[-1] == 300


def test_the_shapes_that_can_be_searched() -> None:
    options = {name: set(ranges_of(plugins.load_plugin(plugins.SCHEDULES, name))) for name in KINDS}
    for name in CLR:
        assert options[name] >= {"cycles", "base_ratio"}
    assert options["exp_range"] > {"cycles", "base_ratio"}
    assert options["sgdr"] >= {"cycles", "T_mult", "base_ratio"}
    assert options["constant"] == options["linear"] == options["cosine"] == set()
    with pytest.raises(InvalidInputError, match="low must be at most high, but got low=2, high=1"):
        Range(2, 1)
