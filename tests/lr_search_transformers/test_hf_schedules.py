"""Schedules as TrainingArguments: Transformers' own schedulers are asked for the LR at every step."""

import numpy as np
import pytest
import torch
from transformers import TrainingArguments, get_scheduler

from lr_search.schedules import by_name, join
from lr_search.schedules.decay import Constant
from lr_search.schedules.sgdr import SGDR
from lr_search_transformers.hf_schedules import lr_arguments, planned_schedule

pytestmark = pytest.mark.trainers

NUM_STEPS = 97
KNOWN = {
    "constant": "constant",
    "linear": "linear",
    "cosine": "cosine",
    "polynomial": "polynomial",
    "inverse_sqrt": "inverse_sqrt",
    "wsd": "warmup_stable_decay",
}
WITH_OPTIONS = [
    (by_name("linear", 0.01, NUM_STEPS, final_ratio=0.1, warmup_steps=5), "polynomial"),
    (by_name("cosine", 0.01, NUM_STEPS, final_ratio=0.1), "cosine_with_min_lr"),
    (by_name("wsd", 0.01, NUM_STEPS, decay="linear", final_ratio=0.2, warmup_steps=0), "warmup_stable_decay"),
    (SGDR(base_lr=0.0, max_lr=0.01, T_0=25), "cosine_with_restarts"),
    (by_name("constant", 0.01, NUM_STEPS, warmup_steps=5), "constant_with_warmup"),
]


def lrs_of(arguments, num_steps):
    """The LRs of a training with these TrainingArguments, as its Trainer makes its scheduler."""
    args = TrainingArguments(output_dir="unused", use_cpu=True, **arguments)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=args.learning_rate)
    warmup = args.get_warmup_steps(num_steps)
    scheduler = get_scheduler(args.lr_scheduler_type, optimizer, warmup, num_steps, args.lr_scheduler_kwargs)
    found = []
    for _ in range(num_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("warmup_steps", [None, 0, 7])
def test_a_schedule_by_name_has_the_same_lrs(name, warmup_steps):
    schedule = by_name(name, 0.01, NUM_STEPS, 10, warmup_steps=warmup_steps)
    arguments = lr_arguments(schedule, NUM_STEPS)
    assert arguments["lr_scheduler_type"].removesuffix("_with_warmup") == KNOWN[name]
    assert lrs_of(arguments, NUM_STEPS) == pytest.approx(schedule(np.arange(NUM_STEPS)), rel=0, abs=1e-11)


@pytest.mark.parametrize(("schedule", "name"), WITH_OPTIONS, ids=[name for _, name in WITH_OPTIONS])
def test_a_schedule_with_options_has_the_same_lrs(schedule, name):
    num_steps = 100 if name == "cosine_with_restarts" else NUM_STEPS
    arguments = lr_arguments(schedule, num_steps)
    assert arguments["lr_scheduler_type"] == name
    assert lrs_of(arguments, num_steps) == pytest.approx(schedule(np.arange(num_steps)), rel=0, abs=1e-11)


@pytest.mark.parametrize("name", ["step", "exponential", "triangular2", "sgdr", "one_cycle"])
def test_what_transformers_does_not_have_is_nothing(name):
    assert lr_arguments(by_name(name, 0.01, NUM_STEPS, 10), NUM_STEPS) is None


@pytest.mark.parametrize(
    "schedule",
    [
        by_name("linear", 0.01, 50),  # of half the training
        by_name("cosine", 0.01, 200),
        join([Constant(0.01), Constant(0.02)], [50]),
        SGDR(base_lr=0.001, max_lr=0.01, T_0=25),
    ],
    ids=["shorter", "longer", "joined", "with a floor"],
)
def test_what_differs_at_some_step_is_nothing(schedule):
    assert lr_arguments(schedule, 100) is None


def test_a_suggestion_is_for_the_schedule_that_is_nearest():
    args = TrainingArguments(output_dir="unused", use_cpu=True, lr_scheduler_type="cosine_with_restarts")
    assert planned_schedule(args.lr_scheduler_type) == "sgdr"
    assert planned_schedule("reduce_lr_on_plateau") == "plateau"
    assert planned_schedule("greedy") is None
