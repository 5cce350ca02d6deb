"""What a layout refuses: the message has the rule, what came, and what to do where the rule does not say it."""

import inspect
from typing import Any

import pytest

from lr_search import plugins
from lr_search.errors import InvalidInputError
from lr_search.schedules import Constant, by_name
from tests.helpers.layouts import CLR, CYCLIC, KINDS, laid_out


@pytest.mark.parametrize("name", KINDS)
def test_an_option_that_a_schedule_does_not_have_is_an_error_that_lists_those_it_has(name: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        laid_out(name, cycels=4, amplitude=2)
    message = str(error.value)
    assert message.startswith(f"{name} has the option")
    assert message.endswith("but got amplitude, cycels." if "'" not in message else "but got 'amplitude, cycels'.")
    parameters = inspect.signature(plugins.load_plugin(plugins.SCHEDULES, name)).parameters
    for option in {*parameters, "warmup_steps"} - {"lr", "num_steps", "steps_per_epoch"}:
        assert message.count(option) >= 1


FIT = "Train for more steps, or make the cycle shorter."
FEWER = "Train for more steps, or in fewer cycles."
BAD: list[tuple[str, dict[str, Any], str]] = [
    *(
        (name, {"base_ratio": ratio}, f"base_ratio must lie between 0 and 1, but got base_ratio={ratio}.")
        for name in CLR
        for ratio in (1.0, 0.0, 1.5, -0.25)
    ),
    *(
        (name, {"cycles": cycles}, f"cycles must be at least 1, or None, but got cycles={cycles}.")
        for name in CYCLIC
        for cycles in (0, -3)
    ),
    *(
        (name, {"step_size": size}, f"step_size must be at least 1 step (it is half a cycle), but got step_size={size}.")
        for name in CLR
        for size in (0, 0.5, -40)
    ),
    *(
        (name, {"step_size": 151}, f"one cycle, 2 * step_size, must fit, but got step_size=151, num_steps=300. {FIT}")
        for name in CLR
    ),
    (
        "triangular",
        {"cycles": 3, "step_size": 50},
        "cycles and step_size must not both be given, for each gives the other, but got cycles=3, step_size=50.",
    ),
    (
        "sgdr",
        {"cycles": 3, "T_0": 50},
        "cycles and T_0 must not both be given, for each gives the other, but got cycles=3, T_0=50.",
    ),
    (
        "exp_range",
        {"final_ratio": 0.1, "gamma": 0.9},
        "final_ratio and gamma must not both be given, for each gives the other, but got final_ratio=0.1, gamma=0.9.",
    ),
    ("exp_range", {"gamma": 0.0}, "gamma must be above 0 and at most 1, but got gamma=0.0."),
    ("exp_range", {"gamma": 1.1}, "gamma must be above 0 and at most 1, but got gamma=1.1."),
    ("exp_range", {"final_ratio": 0.0}, "final_ratio must be above 0 and at most 1, but got final_ratio=0.0."),
    ("exp_range", {"decay": "both"}, "decay must be 'amplitude' or 'bounds', but got 'both'."),
    ("sgdr", {"T_mult": 0.5}, "T_mult must be at least 1, and finite, but got T_mult=0.5."),
    ("sgdr", {"T_mult": 0.5, "T_0": 9}, "T_mult must be at least 1, and finite, but got T_mult=0.5."),
    ("sgdr", {"T_0": 0.5}, "T_0 must be at least 1 step, but got T_0=0.5."),
    ("sgdr", {"T_0": 301}, f"the first cycle must fit, but got T_0=301, num_steps=300. {FIT}"),
    ("sgdr", {"T_mult": 10, "cycles": 4}, f"sgdr needs at least 1111 steps (after the warm-up) for 4 cycles, but got num_steps=300. {FEWER}"),
    ("sgdr", {"base_ratio": 1.0}, "base_ratio must be at least 0 and below 1, but got base_ratio=1.0."),
    ("sgdr", {"base_ratio": -0.1}, "base_ratio must be at least 0 and below 1, but got base_ratio=-0.1."),
    ("sgdr", {"decay": 1.1}, "decay must be above 0 and at most 1, but got decay=1.1."),
    ("sgdr", {"base_decay": 0.0}, "base_decay must be above 0 and at most 1, but got base_decay=0.0."),
    *(
        ("step", {"drops": drops}, f"drops must be from 1 to num_steps - 1, but got drops={drops}, num_steps=300.")
        for drops in (0, 300)
    ),
    ("step", {"drops": 1.5}, "drops must be a whole number, but got 1.5."),
    ("step", {"gamma": 1.1}, "gamma must be above 0 and at most 1, but got gamma=1.1."),
    ("exponential", {"final_ratio": 0.0}, "final_ratio must be above 0 and at most 1, but got final_ratio=0.0."),
    ("polynomial", {"power": 0.0}, "power must be positive and finite, but got power=0.0."),
    *(
        (name, {"final_ratio": ratio}, f"final_ratio must lie between 0 and 1, but got final_ratio={ratio}.")
        for name in ("polynomial", "linear", "cosine", "wsd")
        for ratio in (-0.1, 1.1)
    ),
    ("inverse_sqrt", {"timescale_share": 0.0}, "timescale_share must be above 0 and at most 1, but got timescale_share=0.0."),
    ("wsd", {"decay_share": 1.1}, "decay_share must be above 0 and at most 1, but got decay_share=1.1."),
    ("wsd", {"decay": "sqrt"}, "decay must be '1-sqrt' or 'linear', but got 'sqrt'."),
    ("one_cycle", {"pct_start": 1.0}, "pct_start must lie between 0 and 1, but got pct_start=1.0."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "message"), BAD, ids=[f"{name}, {options}" for name, options, _ in BAD])
def test_an_option_that_breaks_its_rule_is_an_error(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        laid_out(name, **options)
    assert str(error.value) == message


@pytest.mark.parametrize(("name", "least"), [*((name, 2) for name in CLR), ("sgdr", 1), ("one_cycle", 4)])
def test_a_training_too_short_for_one_cycle_is_an_error(name: str, least: int) -> None:
    one = {} if name == "one_cycle" else {"cycles": 1}
    assert by_name(name, 0.1, least, **one).cycle_ends(least) == [least]
    for num_steps in range(1, least):
        with pytest.raises(
            InvalidInputError, match=r"must take more|at least 2 steps .* for 1 cycle, .* Train for more"
        ):
            by_name(name, 0.1, num_steps, **one)
    assert by_name("constant", 0.1, 1) == Constant(0.1)
