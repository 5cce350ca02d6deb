"""Loops of Accelerate's as the trials of a comparison."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.rng import seed_everything
from lr_search.state.accelerate_state import preserved_accelerate

pytestmark = pytest.mark.trainers

STEPS, ACCUMULATED = 12, 4
SEEN = []  # the LR at each batch


def parts(num_batches):
    inputs = torch.randn(2 * num_batches, 2)
    data = torch.utils.data.TensorDataset(inputs, inputs.sum(1, keepdim=True))
    model = nn.Linear(2, 1)
    return (
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        torch.utils.data.DataLoader(data, batch_size=2, shuffle=True),
    )


def loop(attach, loss_told=lambda loss: None):
    """As Accelerate's guide writes it: step and zero_grad after every batch. Returns: the loss on fresh data."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATED)
    model, optimizer, loader = accelerator.prepare(*parts(STEPS * ACCUMULATED))
    scheduler = attach(optimizer)
    for inputs, targets in loader:
        SEEN.append(optimizer.param_groups[0]["lr"])
        with accelerator.accumulate(model):
            loss = (model(inputs) - targets).square().mean()
            accelerator.backward(loss)
            optimizer.step()
            loss_told(loss)
            scheduler.step()
            optimizer.zero_grad()
    inputs = torch.randn(64, 2)
    with torch.no_grad():
        return float((model(inputs) - inputs.sum(1, keepdim=True)).square().mean())


@lrs.trainable(num_steps=STEPS)
def train(run):
    run.report(val_loss=loop(run.attach, run.loss))


def compared(trained=train, **settings):
    small = {"strategies": ["grid", "random"], "schedules": ["constant", "cosine"], "budget": 2, "seeds": 1}
    return lrs.compare(trained, **{**small, "storage": None, "progress": False, **settings})


def test_two_strategies_under_two_schedules():
    comparison = compared()
    assert len(comparison.summary()) == 4
    assert (comparison.trials["steps"] == STEPS).all()
    assert math.isfinite(comparison.recommend().value)


def test_batches_whose_gradients_are_only_accumulated_are_no_steps_of_the_trial():
    compared(strategies={"mine": 0.2}, schedules=["cosine"], budget=1)
    cosine = 0.1 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS))
    np.testing.assert_allclose(SEEN[-STEPS * ACCUMULATED :], np.repeat(cosine, ACCUMULATED), atol=1e-12)


def test_pasted_code_gives_the_trials_objective_at_the_same_seed():
    comparison = compared(strategies={"mine": 0.2}, schedules=["one_cycle"], budget=1)

    def pasted(optimizer):
        names = {"optimizer": optimizer}
        exec(comparison.recommend().code, names)
        return names["scheduler"]

    seed_everything(0)
    with preserved_accelerate():
        assert loop(pasted) == comparison.trials["objective"].item()


def test_a_scheduler_that_accelerate_prepares_counts_each_step_once():
    def train(run):
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATED)
        model, optimizer, loader = parts(STEPS * ACCUMULATED)
        scheduler = run.attach(optimizer)
        model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
        for inputs, _ in loader:
            with accelerator.accumulate(model):
                accelerator.backward(model(inputs).square().mean())
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        run.report(val_loss=1.0)

    comparison = compared(lrs.Trainable(train, num_steps=STEPS), strategies={"mine": 0.2}, budget=1)
    assert (comparison.trials["steps"] == STEPS).all()


def test_a_step_that_the_scaler_of_fp16_skips_is_none_of_the_trial():
    def train(run):
        from accelerate import Accelerator
        from accelerate.optimizer import AcceleratedOptimizer

        Accelerator(cpu=True)
        model, optimizer, _ = parts(1)
        optimizer = AcceleratedOptimizer(optimizer, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**20))
        scheduler = run.attach([optimizer])
        weights = iter([1.0, 1e36, 1e36])  # times the scale, and half of it, that is more than fp32 holds
        skipped = 0
        while not run.done:
            loss = next(weights, 1.0) * model(torch.ones(1, 2)).square().mean()
            optimizer.scaler.scale(loss).backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            skipped += optimizer.step_was_skipped
        run.report(val_loss=float(skipped))

    comparison = compared(
        lrs.Trainable(train, num_steps=STEPS), strategies={"mine": 1e-3}, schedules=["constant"], budget=1
    )
    assert (comparison.trials["objective"].item(), comparison.trials["steps"].item()) == (2.0, STEPS)


def test_what_accelerate_keeps_for_the_process_is_as_before_a_trial():
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState, PartialState

    with preserved_accelerate():
        outer = Accelerator(cpu=True, gradient_accumulation_steps=2)
        kept = {kind: dict(kind._shared_state) for kind in (AcceleratorState, GradientState, PartialState)}
        compared(strategies={"mine": 1e30}, budget=1)  # ended within the loader, as diverged
        train.range_test(num_steps=20, start_lr=1e-3, end_lr=1e6)
        assert {kind: dict(kind._shared_state) for kind in kept} == kept
        assert (outer.gradient_accumulation_steps, outer.gradient_state.active_dataloader) == (2, None)
