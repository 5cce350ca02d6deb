"""A range test's settings: their rules, the LRs they give and what they cost; one value wherever range tests are asked for."""

import inspect
from dataclasses import FrozenInstanceError, asdict

import numpy as np
import pytest

import lr_search as lrs
from lr_search.errors import InvalidInputError
from lr_search.ramp.settings import RampSettings

RULES = [
    ({"ramp": "cosine"}, "ramp must be 'exponential' or 'linear', but got 'cosine'."),
    ({"start_lr": 0.0}, "start_lr must be positive, but got start_lr=0.0."),
    ({"start_lr": -1.0, "ramp": "linear"}, "start_lr must be at least 0, but got start_lr=-1.0."),
    ({"start_lr": 1.0, "end_lr": 1.0}, "start_lr must be below end_lr, but got start_lr=1.0, end_lr=1.0."),
    ({"start_lr": 0.1, "end_lr": float("inf")}, "start_lr must be below end_lr, but got start_lr=0.1, end_lr=inf."),
    ({"num_steps": 19}, "num_steps must be at least 20, but got num_steps=19."),
    ({"valid_batches": -1}, "valid_batches must be at least 0, but got valid_batches=-1."),
]


def test_they_are_the_arguments_of_a_workloads_range_test_with_the_same_defaults():
    parameters = list(inspect.signature(lrs.Workload.range_test).parameters.values())[3:]  # after self, seed, seeds
    assert RampSettings.names() == [each.name for each in parameters]
    defaults = {each.name: each.default for each in parameters}
    assert defaults.pop("num_steps") is None  # by the training's length
    assert asdict(RampSettings()) == {**defaults, "num_steps": 100}


@pytest.mark.parametrize(("settings", "message"), RULES)
def test_what_breaks_a_rule_is_refused_by_the_settings_and_by_all_who_take_them(make_workload, settings, message):
    workload = make_workload()
    training = lrs.train(workload, lrs.schedules.Constant(0.1))
    calls = [
        lambda: RampSettings(**settings),
        lambda: workload.range_test(**settings),
        lambda: workload.range_test(seeds=2, **settings),
        lambda: training.range_test(**settings),
        lambda: lrs.refind(workload, lrs.schedules.Constant(0.1), range_test=settings),
        lambda: lrs.compare(workload, strategies=["range_test"], schedules=["constant"], range_test=settings),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError) as refused:
            call()
        assert str(refused.value) == message


@pytest.mark.parametrize("num_steps", [20.0, 99.5])
def test_a_number_of_steps_that_is_not_whole_is_refused(num_steps):
    with pytest.raises(InvalidInputError, match=f"num_steps must be a whole number, but got {num_steps}"):
        RampSettings(num_steps=num_steps)


def test_numbers_of_numpys_will_do_and_nothing_can_be_set():
    settings = RampSettings(num_steps=np.int64(20))
    assert type(settings.num_steps) is int
    with pytest.raises(FrozenInstanceError):
        settings.num_steps = 30


def test_the_lrs_are_even_in_log_lr_or_in_lr_with_both_ends():
    even_in_log = RampSettings(1e-4, 1.0, 41).lrs()
    assert even_in_log == pytest.approx([1e-4 * 10 ** (4 * step / 40) for step in range(41)], rel=1e-12)
    even = RampSettings(0.0, 0.4, 41, "linear").lrs()
    assert even == pytest.approx([0.01 * step for step in range(41)], rel=1e-12)


@pytest.mark.parametrize(("gain_ratio", "valid_batches"), [(None, 0), (True, 1), (False, 0), (False, 2), (None, 3)])
def test_the_most_steps_are_what_a_ramp_that_runs_to_its_end_is_charged(make_workload, gain_ratio, valid_batches):
    settings = RampSettings(1e-6, 1e-3, 20, gain_ratio=gain_ratio, valid_batches=valid_batches)
    curve = make_workload().range_test(**asdict(settings))
    assert (curve.stopped, curve.steps_charged) == ("finished", settings.most_steps())
