"""Loops as scripts have them: a GAN and PPO, compared under two strategies and two schedules."""

import inspect

import pytest

import lr_search as lrs
from tests.helpers.their_loops import gan, ppo

SMALL = {
    "strategies": ["random", "range_test"],
    "schedules": ["constant", "cosine"],
    "seeds": 1,
    "storage": None,
    "progress": False,
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("train", "settings", "better_than"),
    [
        (gan, {"num_steps": 120, "objective": "off"}, 0.6),
        (ppo, {"num_steps": 120, "objective": "mean_return", "direction": "maximize"}, -9.0),
    ],
)
def test_two_strategies_under_two_schedules(train, settings, better_than):
    comparison = lrs.compare(lrs.Trainable(train, **settings), budget=3, lr_range=(1e-5, 1e-1), **SMALL)
    assert len(comparison.summary()) == 4
    best, untrained = comparison.recommend().value, comparison.records[-1].worst
    sign = -1 if settings.get("direction") == "maximize" else 1
    assert sign * best < sign * better_than < sign * untrained


@pytest.mark.parametrize("train", [gan, ppo])
def test_what_a_script_adds_is_four_lines_and_the_decorator(train):
    marked = [line for line in inspect.getsource(train).splitlines() if line.endswith("# lrs")]
    assert len(marked) == 4
