"""Schedules by name, under the contract for all: each its own kind, as long as the training, and the peak is the LR that was asked for."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from lr_search import plugins
from lr_search.errors import InvalidInputError, UnknownNameError
from lr_search.schedules import Constant, Joined, OneCycle, Schedule, by_name, warmup
from lr_search.testing import LayoutContract
from tests.helpers.layouts import CONTROLLERS, CYCLIC, DECAYS, EPOCHS, KINDS, LAYOUTS, WARMED


def test_every_registered_schedule_is_in_this_suite() -> None:
    assert set(plugins.registered(plugins.SCHEDULES)) == KINDS.keys() | CONTROLLERS


@pytest.mark.parametrize("name", KINDS)
class TestOurs(LayoutContract):
    lengths = (15, 16, 31, 97, 300, 997)
    epochs = tuple(EPOCHS)

    @pytest.fixture
    def layout(self, name: str) -> Callable[..., Schedule]:
        layout: Callable[..., Schedule] = plugins.load_plugin(plugins.SCHEDULES, name)
        return layout


@pytest.mark.parametrize("name", KINDS)
def test_a_name_gives_its_own_kind(name: str) -> None:
    schedule = by_name(name, lr=0.1, num_steps=300, steps_per_epoch=10)
    if name in WARMED:
        assert isinstance(schedule, Joined)
        schedule = schedule.schedules[-1]
    assert type(schedule) is KINDS[name]
    assert type(by_name(name, lr=0.1, num_steps=300, warmup_steps=0)) is KINDS[name]


@pytest.mark.parametrize("name", sorted(KINDS.keys() | CONTROLLERS))
def test_it_is_printed_in_words_of_80_columns(name: str) -> None:
    schedule = by_name(name, lr=0.1, num_steps=300, steps_per_epoch=10)
    lines = str(schedule).splitlines()
    assert " ".join(lines) == schedule.describe()
    assert max(map(len, lines)) <= 80


def test_the_control_is_constant_whatever_the_length() -> None:
    for num_steps, steps_per_epoch in [(1, None), *LAYOUTS]:
        assert by_name("constant", 0.3, num_steps, steps_per_epoch) == Constant(0.3)


def test_the_decays_fall_through_the_whole_training_by_their_rules() -> None:
    def at(name: str, *shares: float) -> list[float]:
        return [by_name(name, 1.0, 3000)(3000 * share) for share in shares]

    assert at("step", 0, 0.333, 0.334, 0.666, 0.667, 0.99) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert at("exponential", 0, 0.5, 1) == pytest.approx([1, 0.1, 0.01])
    assert at("polynomial", 0, 0.5, 0.9, 1) == pytest.approx([1, 0.25, 0.01, 0])
    assert at("linear", 0, 0.25, 1) == pytest.approx([1, 0.75, 0])
    assert at("cosine", 0, 1 / 3, 0.5, 1) == pytest.approx([1, 0.75, 0.5, 0])
    for name in DECAYS:
        lrs = by_name(name, 0.2, 3000)(np.arange(3000))
        assert lrs[0] == 0.2
        assert (np.diff(lrs) <= 0).all()


def test_the_transformer_s_schedule_peaks_after_a_twentieth() -> None:
    for num_steps, options in [(3000, {}), (310, {}), (300, {"warmup_steps": 200})]:
        rise = options.get("warmup_steps", round(num_steps / 20))
        t = np.arange(1, num_steps)
        paper = np.minimum(t**-0.5, t * rise**-1.5)  # section 5.3
        schedule = by_name("inverse_sqrt", 0.2, num_steps, **options)
        np.testing.assert_allclose(schedule(t), 0.2 * paper / paper.max(), rtol=1e-12)
    without = by_name("inverse_sqrt", 0.2, 3000, warmup_steps=0)
    np.testing.assert_allclose(without([0, 450]), [0.2, 0.1])


def test_warmup_stable_decay_has_its_three_phases() -> None:
    schedule = by_name("wsd", 1.0, 3000)
    steps = [0, 75, 150, 1000, 2430, 2430 + 570 / 4, 3000]  # a twentieth, and a fifth of the rest
    np.testing.assert_allclose(schedule(steps), [0, 0.5, 1, 1, 1, 0.5, 0], atol=1e-12)


def test_one_cycle_is_as_long_as_the_training_with_torch_s_defaults() -> None:
    assert by_name("one_cycle", 0.2, 3000) == OneCycle(0.2, 3000)
    assert by_name("one_cycle", 0.2, 3000).cycle_ends(3000) == [3000]


@pytest.mark.parametrize("name", KINDS)
def test_a_warm_up_takes_its_steps_from_the_training(name: str) -> None:
    for warmup_steps in (1, 30, np.int64(30)):
        schedule = by_name(name, 0.2, 300, 10, warmup_steps=warmup_steps)
        rest = {"timescale_share": warmup_steps / (300 - warmup_steps)} if name == "inverse_sqrt" else {}
        assert schedule == warmup(by_name(name, 0.2, 300 - warmup_steps, 10, warmup_steps=0, **rest), warmup_steps)
    if name in CYCLIC:
        assert len(schedule.cycle_ends(300)) >= 3
        assert schedule.cycle_ends(300)[-1] == 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0.0}, "lr must be positive and finite, but got lr=0.0."),
        ({"lr": -1.0}, "lr must be positive and finite, but got lr=-1.0."),
        ({"lr": math.inf}, "lr must be positive and finite, but got lr=inf."),
        ({"num_steps": 0}, "num_steps must be at least 1, but got num_steps=0."),
        ({"num_steps": 300.5}, "num_steps must be a whole number, but got 300.5."),
        (
            {"warmup_steps": 300},
            "warmup_steps must be from 0 to num_steps - 1, but got warmup_steps=300, num_steps=300.",
        ),
        ({"warmup_steps": -1}, "warmup_steps must be from 0 to num_steps - 1, but got warmup_steps=-1, num_steps=300."),
        (
            {"warmup_steps": 2.5},
            "warmup_steps must be a whole number or None, but got 2.5.",
        ),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be positive, or None, but got steps_per_epoch=0."),
    ],
)
def test_bad_input_is_an_error_under_every_name(arguments: dict[str, float], message: str) -> None:
    for name in KINDS:
        with pytest.raises(InvalidInputError) as error:
            by_name(name, **({"lr": 0.1, "num_steps": 300, "steps_per_epoch": 10} | arguments))
        assert str(error.value) == message


def test_an_unknown_name_is_an_error_that_tells_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as error:
        by_name("triangluar2", lr=0.1, num_steps=300)
    message = str(error.value)
    assert "'triangluar2'" in message
    assert "Did you mean 'triangular2' or 'triangular'?" in message
    for name in KINDS:
        assert name in message
