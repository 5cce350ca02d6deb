"""The code of an optimizer with parameter groups of one's own trains every group as the search did: LRs, settings, weights."""

import copy
import json
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search import optimizers
from lr_search.optimizers.call import optimizer_call
from lr_search.optimizers.muon import muon_groups
from lr_search.optimizers.names import rules_of
from lr_search.results.code.recipe import recipe
from lr_search.results.code.recommended_code import NO_GROUPS, code_for
from lr_search.schedules import Constant, Schedule, by_name
from tests.helpers.marks import usually
from tests.helpers.schedule_cases import Harmonic

PEAK, STEPS = 0.0608, 24
SCHEDULES = (
    "constant", "step", "exponential", "polynomial", "linear", "cosine", "inverse_sqrt", "wsd", "triangular",
    "triangular2", "exp_range", "sgdr", "one_cycle",
)  # fmt: skip
SHOWN = ("lr", "momentum", "weight_decay", "eps")  # of a group at a step, and the betas


def three_layers():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    model[2].bias.requires_grad_(False)
    return model


def param_groups(model):
    """Groups that name their own LR, weight decay by group, and a frozen parameter."""
    return [
        {"params": model[0].parameters(), "lr": 0.25, "weight_decay": 0.3},
        {"params": model[2].parameters(), "lr": 0.1},
        {"params": model[4].parameters(), "lr": 0.025, "weight_decay": 0.0, "eps": 1e-3},
    ]


def one_lr(model):
    """Prodigy takes no other ratio than 1."""
    return [{**group, "lr": 0.3} for group in param_groups(model)]


def without_eps(model):
    """Adafactor's is a pair."""
    return [{name: value for name, value in group.items() if name != "eps"} for group in param_groups(model)]


def groups_for(name):
    return {"prodigy": one_lr, "adafactor": without_eps}.get(name, param_groups)


BATCHES = [torch.randn(8, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]


def loss(model, batch):
    return model(batch).square().mean()


def watched(seen, factory, params, lr):
    """The optimizer, which notes down its groups at each step."""
    optimizer = factory(params, lr=lr)

    def note(optimizer, *_):
        betas = [dict(enumerate(group.get("betas", ()))) for group in optimizer.param_groups]
        numbers = [{name: group.get(name) for name in SHOWN} for group in optimizer.param_groups]
        plain = [{name: value for name, value in each.items() if isinstance(value, int | float)} for each in numbers]
        seen.append([{**each, **pair} for each, pair in zip(plain, betas, strict=True)])

    optimizer.register_step_pre_hook(note)
    return optimizer


def workload_of(name, seen=None, **changes):
    factory = partial(watched, [] if seen is None else seen, optimizers.by_name(name))
    settings = {"num_steps": STEPS, "eval_every": STEPS, "param_groups": param_groups, "device": "cpu"} | changes
    return lrs.Workload(three_layers, factory, loss, lambda: BATCHES, lambda: BATCHES[:1], **settings)


def stored(workload):
    torch.manual_seed(0)
    model, optimizer = workload.build()
    return json.loads(json.dumps(optimizer_call(optimizer, model), allow_nan=False))


def pasted(text, model, param_groups=param_groups, **names):
    """Run the code, then train as its comment says: each group at each step."""
    exec(text, names := {"model": model, "param_groups": param_groups, **names})
    optimizer, seen = names["optimizer"], []
    watched(seen, lambda *_, **__: optimizer, None, 0)
    if hasattr(optimizer, "train"):
        optimizer.train()
    for step in range(STEPS):
        loss(model, BATCHES[step % len(BATCHES)]).backward()
        optimizer.step()
        if "scheduler" in names:
            names["scheduler"].step()
        optimizer.zero_grad()
    if hasattr(optimizer, "eval"):
        optimizer.eval()
    return seen


def compared(workload, seen, trained_under, weights=True, **names):
    """Train by our own loop and by the pasted code, from the same weights: both as they were."""
    training = lrs.train(workload, trained_under, seed=3)
    model = copy.deepcopy(training.model)
    for _ in training:
        pass
    text = recipe(stored(workload), trained_under, PEAK, STEPS)
    again = pasted(text, model, **names)
    assert len(seen) == len(again) == STEPS
    for ours, theirs in zip(seen, again, strict=True):
        assert theirs == [pytest.approx(group, rel=1e-9, abs=1e-15) for group in ours]
    for ours, theirs in zip(training.model.parameters(), model.parameters(), strict=True):
        assert not weights or torch.allclose(theirs, ours, rtol=1e-4, atol=1e-6)
    return seen


@pytest.mark.parametrize("name", usually(["sgd", "adamw"], optimizers.NAMES))
def test_every_schedule_and_optimizer_as_in_our_own_training(name):
    groups, ratios = groups_for(name), [1.0, 1.0, 1.0] if name == "prodigy" else [1.0, 0.4, 0.1]
    for schedule_name in SCHEDULES:
        schedule = by_name(schedule_name, PEAK, STEPS)
        seen: list = []
        work = workload_of(name, seen, param_groups=groups)
        wanted = rules_of(type(work.build()[1])).schedules  # by its authors; under others it is never trained
        weights = wanted is None or schedule_name in wanted
        compared(work, seen, schedule, weights, param_groups=groups)
        lrs_used = np.array([[group["lr"] for group in groups] for groups in seen])
        np.testing.assert_allclose(lrs_used, schedule(np.arange(STEPS))[:, None] * ratios, rtol=1e-9, atol=1e-15)
        if "weight_decay" in seen[0][0]:
            assert [group["weight_decay"] for group in seen[0]][::2] == [0.3, 0.0]


@pytest.mark.parametrize("name", ["nadam", "radam", "adafactor", "lion", "muon"])
def test_the_source_of_a_class_of_ours_is_pasted_and_trains_the_same(name):
    seen, schedule = [], by_name("one_cycle", PEAK, STEPS)
    work = workload_of(name, seen, param_groups=groups_for(name))
    assert ("class " in recipe(stored(work), schedule, PEAK, STEPS)) == (name in ("lion", "muon"))
    compared(work, seen, schedule, param_groups=groups_for(name))


def test_which_groups_muon_steps_is_pasted_too():
    def unmarked(model):
        return [{"params": group["params"]} for group in muon_groups(model)]

    for given in (muon_groups, unmarked):
        seen: list = []
        compared(workload_of("muon", seen, param_groups=muon_groups), seen, Constant(PEAK), param_groups=given)


@pytest.mark.parametrize("given", [None, Harmonic(PEAK)])
def test_a_schedule_of_ones_own(given):
    seen: list = []
    work = workload_of("sgd", seen)
    text = recipe(stored(work), given, PEAK, STEPS)
    assert "promised = [0.0608, 0.02432, 0.00608]" in text
    compared(work, seen, Harmonic(PEAK), schedule=Harmonic(PEAK))


def head_alone(model):
    return [{"params": model[4].parameters(), "lr": 3.0}]


def unfrozen(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@pytest.mark.parametrize("groups", [head_alone, unfrozen])
@pytest.mark.parametrize("schedule", ["constant", "triangular", "one_cycle", "cosine"])
def test_one_group_of_a_part_of_the_model(schedule, groups):
    seen: list = []
    compared(workload_of("sgd", seen, param_groups=groups), seen, by_name(schedule, PEAK, STEPS), param_groups=groups)


def test_a_group_that_stands_still():
    def groups(model):
        return [{"params": model[0].parameters(), "lr": 0.2}, {"params": model[4].parameters(), "lr": 0.0}]

    for schedule in ("one_cycle", "sgdr", "constant"):
        seen: list = []
        work = workload_of("adamw", seen, param_groups=groups)
        compared(work, seen, by_name(schedule, PEAK, STEPS), param_groups=groups)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_other_groups_than_were_searched_are_told(schedule):
    text = recipe(stored(workload_of("sgd")), by_name(schedule, PEAK, STEPS), PEAK, STEPS)
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is longer"):
        pasted(text, three_layers(), param_groups=lambda model: param_groups(model)[:2])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_peak_that_is_promised_is_asserted(schedule):
    text = recipe(stored(workload_of("sgd")), by_name(schedule, PEAK, STEPS), PEAK, STEPS)
    edited = "\n".join(line for line in text.splitlines() if "group.update(own)" not in line).replace(
        "for group, own in zip(optimizer.param_groups, settings, strict=True):", ""
    )
    assert edited != text
    with pytest.raises(AssertionError, match="the LRs of the groups must rise to"):
        pasted(edited, three_layers())


def test_what_it_looks_like():
    text = recipe(stored(workload_of("adamw")), by_name("cosine", 0.1, 300), 0.1, 300)
    assert text.partition("\n# for batch")[0] == (
        "import math\n"
        "import torch\n"
        "from torch.optim.lr_scheduler import CosineAnnealingLR\n"
        "\n"
        "# param_groups: your own function, which gives the parameter groups of the model: 3 of them, in the order that the search had\n"
        "optimizer = torch.optim.AdamW(param_groups(model), lr=0.1)\n"
        "settings = [  # of each group\n"
        '    {"lr": 0.1, "weight_decay": 0.3},\n'
        '    {"lr": 0.04},\n'
        '    {"lr": 0.01, "weight_decay": 0.0, "eps": 0.001},\n'
        "]\n"
        "for group, own in zip(optimizer.param_groups, settings, strict=True):\n"
        "    group.update(own)\n"
        "scheduler = CosineAnnealingLR(optimizer, T_max=300)\n"
        'highest = [group["initial_lr"] for group in optimizer.param_groups]\n'
        "promised = [0.1, 0.04, 0.01]\n"
        'assert all(map(math.isclose, highest, promised)), f"the LRs of the groups must rise to {promised}, but rise to {highest}"\n'
    )


def test_the_code_of_a_comparisons_answer():
    work = workload_of("sgd")
    comparison = lrs.compare(
        work, strategies=["random"], schedules=["one_cycle"], budget=2, seeds=1, storage=None, lr_range=(1e-3, 1e-1)
    )
    found = comparison.recommend()
    seen = pasted(found.code, three_layers())
    peaks = np.max([[group["lr"] for group in groups] for groups in seen], axis=0)
    wanted = by_name("one_cycle", found.lr, STEPS)
    assert isinstance(wanted, Schedule)
    np.testing.assert_allclose(peaks, wanted(np.arange(STEPS)).max() * np.array([1, 0.4, 0.1]), rtol=1e-3)


@pytest.mark.parametrize(("groups", "same"), [(1, True), (3, False)])
def test_what_an_earlier_version_stored(groups, same):
    call = {"class": "torch.optim.SGD", "settings": {}, "groups": groups}
    plan = {"num_steps": STEPS, "optimizer_call": call, "by_name": "cosine", "schedule": "cosine"}
    text = code_for(plan, PEAK, {})
    new = code_for({**plan, "optimizer_call": {**call, "groups": []}}, PEAK, {})
    assert text == (new if same else NO_GROUPS)
