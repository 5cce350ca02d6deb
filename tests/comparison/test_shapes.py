"""compare() over workloads of other shapes: a GAN, PPO, an optimizer of the model's own; stopped on the way, and gone on with."""

import math

import pandas as pd
import pytest
import torch

import lr_search as lrs
from lr_search.errors import FingerprintError, WorkloadError
from lr_search.rng import seed_everything
from lr_search.schedules import by_name
from tests.helpers.shapes import SHAPES, configured, gan_optimizers, gan_workload, tokens_workload

TIMES = ["seconds", "started", "ended", "worker"]
SETTINGS = {
    "strategies": ["grid", "range_test"],
    "schedules": ["constant", "cosine"],
    "budget": 3,
    "seeds": 1,
    "progress": False,
}
STOPPED_AT = 95  # calls of the loss


def stopping(loss, calls):
    """The loss, which is interrupted at a later call."""

    def stopped(model, batch):
        calls.append(1)
        if len(calls) == STOPPED_AT:
            raise KeyboardInterrupt
        return loss(model, batch)

    return stopped


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_two_strategies_under_two_schedules_and_on_after_an_interruption(shape, tmp_path):
    make = SHAPES[shape]
    whole = lrs.compare(make(), storage=None, **SETTINGS)
    assert (whole.trials["state"] == "COMPLETE").all()
    assert set(map(tuple, whole.trials[["strategy", "schedule"]].to_numpy())) == {
        (strategy, schedule) for strategy in SETTINGS["strategies"] for schedule in SETTINGS["schedules"]
    }
    calls, losses = [], make().loss
    last = losses.in_turn[-1] if shape == "gan" else losses
    stopped = stopping(last, calls)
    changed = make(loss=[*losses.in_turn[:-1], stopped] if shape == "gan" else stopped)
    storage = f"sqlite:///{tmp_path}/{shape}.db"
    with pytest.raises(KeyboardInterrupt):
        lrs.compare(changed, storage=storage, **SETTINGS)
    begun = lrs.load(storage, "comparison").trials
    assert 0 < (begun["state"] == "COMPLETE").sum() < len(whole.trials)
    on = lrs.compare(make(), storage=storage, **SETTINGS)
    frames = [each.trials.drop(columns=TIMES) for each in (on, whole)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_optimizers_by_name_may_be_of_the_model_too():
    made = {"own": configured, "plain": torch.optim.AdamW, "two": [one, other]}
    found = lrs.compare(
        tokens_workload(),
        optimizers=made,
        storage=None,
        **SETTINGS | {"strategies": {"mine": 0.01}, "schedules": ["constant"], "budget": 1},
    )
    assert set(found.trials["optimizer"]) == {"own", "plain", "two"}
    with pytest.raises(WorkloadError, match="but got 2 for 1 optimizer"):
        lrs.compare(gan_workload(), optimizers=["adam"], storage=None, **SETTINGS)


def one(model, lr):
    return torch.optim.SGD(model.embedding.parameters(), lr)


def other(model, lr):
    return torch.optim.SGD([*model.norm.parameters(), *model.head.parameters()], lr)


def slower(model, lr):
    first, second = gan_optimizers(model, lr)
    second.param_groups[0]["lr"] /= 5
    return [first, second]


def of_one_kind(model, lr):
    return [torch.optim.SGD(each.parameters(), lr) for each in model.children()]


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (slower, "group 2's lr_ratio differs: 0.5 then, 0.1 now"),
        (of_one_kind, "the optimizer differs: Adam and SGD then, SGD and SGD now"),
    ],
)
def test_it_goes_on_only_with_the_same_optimizers(optimizer, message, tmp_path):
    settings = SETTINGS | {
        "strategies": ["grid"],
        "schedules": ["constant"],
        "storage": f"sqlite:///{tmp_path}/gan.db",
        "name": "gan",
    }
    lrs.compare(gan_workload(num_steps=6), **settings | {"budget": 1})
    with pytest.raises(FingerprintError, match=message):
        lrs.compare(gan_workload(num_steps=6, optimizer=optimizer), **settings)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "sgdr", "one_cycle"])
@pytest.mark.parametrize("shape", ["gan", "tokens"])
def test_the_pasted_code_trains_at_the_lrs_of_the_search(shape, schedule):
    settings = SETTINGS | {"strategies": {"mine": 0.01}, "schedules": [schedule], "budget": 1}
    code = lrs.compare(SHAPES[shape](), storage=None, **settings).recommend().code
    make = {"gan": gan_optimizers, "tokens": configured}[shape]
    seed_everything(0)
    names = {"model": SHAPES[shape]().model(), make.__name__: make}
    exec(code, names)
    several = shape == "gan"
    optimizers = names["optimizers"] if several else [names["optimizer"]]
    scheduler = names.get("schedulers", [names["scheduler"]] if "scheduler" in names else [])
    wanted = by_name(schedule, lr=0.01, num_steps=20, steps_per_epoch=5)
    for step in range(20):
        assert math.isclose(optimizers[0].param_groups[0]["lr"], wanted(step), rel_tol=1e-6)
        assert not several or math.isclose(optimizers[1].param_groups[0]["lr"], 0.5 * wanted(step), rel_tol=1e-6)
        for each in (*optimizers, *scheduler):
            each.step()


def test_an_optimizer_of_torch_that_is_made_of_the_model_is_fused():
    settings = SETTINGS | {
        "strategies": ["grid"],
        "schedules": ["one_cycle"],
        "storage": None,
    }  # which moves betas, too
    alone = lrs.compare(tokens_workload(), **settings).trials
    fused = lrs.compare(tokens_workload(), executor=lrs.FusedExecutor(), **settings).trials  # where it cannot, it warns
    assert fused["objective"].to_numpy() == pytest.approx(alone["objective"].to_numpy(), rel=1e-3)
    assert fused["lr"].tolist() == alone["lr"].tolist()
