"""When a ramp's loss has blown up: differences count, not levels; noise and spikes do not."""

import numpy as np
import pytest

from lr_search.curves.noise import blow_up


def exploding(explode_at: int = 60, num_steps: int = 100, growth: float = 1.5) -> np.ndarray:
    """Level, then down from 2.3 to 0.5, then up by `growth` a step."""
    loss = np.interp(np.arange(num_steps), [0, 25, explode_at], [2.3, 2.3, 0.5])
    loss += 0.01 * np.random.default_rng(0).normal(size=num_steps)
    loss[explode_at:] = 0.5 * growth ** np.arange(num_steps - explode_at)
    return loss


def test_a_loss_that_explodes_has_blown_up_once_it_is_twice_the_descent_above_its_lowest() -> None:
    loss = exploding()
    step = blow_up(loss)
    assert step is not None
    crossed = int(np.flatnonzero(loss > 2.3 + 1.8)[0])  # as far above the start as it had fallen below
    assert crossed < step <= crossed + 4  # two steps for the median, and some for the noise


@pytest.mark.parametrize("shift", [-2.3, -0.5, -10.0, -100.0, 50.0])
def test_losses_near_zero_and_below_blow_up_at_the_same_step(shift: float) -> None:
    assert blow_up(exploding() + shift) == blow_up(exploding())


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e6])
def test_the_scale_of_the_loss_does_not_matter(scale: float) -> None:
    assert blow_up(exploding() * scale) == blow_up(exploding())


@pytest.mark.parametrize("level", [2.3, 0.0, -5.0])
def test_flat_noise_hardly_ever_counts_as_a_blow_up(level: float) -> None:
    found = [blow_up(level + 0.1 * np.random.default_rng(seed).normal(size=40)) for seed in range(200)]
    assert sum(step is not None for step in found) <= 2  # 1 in 100 ramps


def test_a_rise_within_the_noise_is_no_blow_up() -> None:
    loss = 2.3 + 0.1 * np.random.default_rng(1).normal(size=100) + np.linspace(0, 0.3, 100)
    assert blow_up(loss) is None


@pytest.mark.parametrize("height", [5.0, 1e3, 1e9])
def test_a_spike_of_one_step_is_no_blow_up_wherever_it_is(height: float) -> None:
    calm = exploding()[:60]
    assert blow_up(calm) is None
    for step in range(60):
        loss = calm.copy()
        loss[step] += height
        assert blow_up(loss) is None, step


def test_a_plateau_far_above_the_start_has_blown_up() -> None:
    loss = exploding()[:60]
    loss = np.concatenate([loss, 40 + np.random.default_rng(0).normal(size=20)])
    assert blow_up(loss) == 61  # the second of three high losses moves their median


def test_a_ramp_that_starts_too_high_has_blown_up_within_ten_steps() -> None:
    for growth in (1.5, 2.0, 10.0):
        loss = 2.3 * growth ** np.arange(12.0)
        step = blow_up(loss)
        assert step is not None
        assert step < 10


def test_steps_before_the_first_asked_for_are_not_looked_at() -> None:
    loss = exploding()
    step = blow_up(loss)
    assert step is not None
    assert blow_up(loss, first=step) == step
    assert blow_up(loss, first=step + 5) == step + 5
    assert blow_up(loss[:step]) is None
    assert blow_up(loss[: step + 1]) == step


def test_a_few_losses_tell_nothing() -> None:
    for count in range(5):
        assert blow_up(10.0 ** np.arange(count)) is None
