"""A loop of Accelerate's: the steps that count are the optimizer's, and its process-wide states come back."""

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.state.accelerate_state import preserved_accelerate

pytestmark = pytest.mark.trainers

SCHEDULE = lrs.schedules.by_name("linear", lr=0.5, num_steps=4)


@pytest.fixture
def accelerator():
    from accelerate import Accelerator

    with preserved_accelerate():
        yield lambda **settings: Accelerator(cpu=True, **settings)


def walk(accelerator, optimizer, model, batches, scheduler):
    """One pass as Accelerate's guide writes it. Returns: the LR at each batch."""
    seen = []
    for batch in batches:
        seen.append(optimizer.param_groups[0]["lr"])
        with accelerator.accumulate(model):
            accelerator.backward(model(batch).square().mean())
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    return seen


def made(num_batches=16):
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    loader = torch.utils.data.DataLoader(torch.randn(2 * num_batches, 2), batch_size=2)
    return model, torch.optim.SGD(model.parameters(), lr=0.1), loader


def test_batches_whose_gradients_are_only_accumulated_are_no_steps(accelerator):
    accelerator = accelerator(gradient_accumulation_steps=4)
    model, optimizer, loader = accelerator.prepare(*made())
    scheduler = SCHEDULE.attach(optimizer)
    seen = walk(accelerator, optimizer, model, loader, scheduler)
    assert seen == pytest.approx([lr for lr in (0.5, 0.375, 0.25, 0.125) for _ in range(4)])
    assert scheduler.last_epoch == 4


def test_a_last_step_of_fewer_batches_counts(accelerator):
    accelerator = accelerator(gradient_accumulation_steps=4)
    model, optimizer, loader = accelerator.prepare(*made(num_batches=10))
    scheduler = SCHEDULE.attach(optimizer)
    walk(accelerator, optimizer, model, loader, scheduler)
    assert scheduler.last_epoch == 3  # of 4, 4 and 2 batches


@pytest.mark.parametrize("attach_first", [True, False])
def test_a_scheduler_that_accelerate_prepares_counts_each_step_once(accelerator, attach_first):
    accelerator = accelerator(gradient_accumulation_steps=4)
    model, optimizer, loader = made()
    if attach_first:
        scheduler = SCHEDULE.attach(optimizer)
        model, optimizer, loader, prepared = accelerator.prepare(model, optimizer, loader, scheduler)
    else:
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        scheduler = SCHEDULE.attach(optimizer)
        prepared = accelerator.prepare(scheduler)
    assert type(prepared).__name__ == "AcceleratedScheduler"
    walk(accelerator, optimizer, model, loader, prepared)
    assert scheduler.last_epoch == 4


def test_a_step_that_the_scaler_of_fp16_skips_is_none(accelerator):
    from accelerate.optimizer import AcceleratedOptimizer

    accelerator()
    model, optimizer, loader = made(num_batches=1)
    optimizer = AcceleratedOptimizer(optimizer, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**20))
    scheduler = SCHEDULE.attach(optimizer)
    seen = []
    for weight in (1.0, 1e36, 1e36, 1.0):  # times the scale, and half of it, that is more than fp32 holds
        loss = weight * model(next(iter(loader))).square().mean()
        optimizer.scaler.scale(loss).backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        seen.append((optimizer.step_was_skipped, scheduler.last_epoch))
    assert seen == [(False, 1), (True, 1), (True, 1), (False, 2)]


def test_what_accelerate_keeps_for_the_process_is_as_before(accelerator):
    from accelerate.state import AcceleratorState, GradientState, PartialState

    accelerator(gradient_accumulation_steps=2)
    kept = {kind: dict(kind._shared_state) for kind in (AcceleratorState, GradientState, PartialState)}
    with pytest.raises(StopIteration), preserved_accelerate():  # noqa: PT012
        inner = accelerator(gradient_accumulation_steps=4)
        inner.gradient_accumulation_steps = 8  # written in place
        _, _, loader = inner.prepare(*made())
        for batch in loader:
            with inner.accumulate(nn.Identity()):
                raise StopIteration(batch)  # a trial's Stop, in the middle of a loader
    assert {kind: dict(kind._shared_state) for kind in kept} == kept
    assert GradientState().num_steps == 2
    assert GradientState().active_dataloader is None


def test_where_no_accelerator_was_there_is_none_afterwards():
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState, PartialState

    with preserved_accelerate():
        for kind in (AcceleratorState, GradientState, PartialState):
            kind._shared_state.clear()
        with preserved_accelerate():
            Accelerator(cpu=True, gradient_accumulation_steps=4)
        assert [kind._shared_state for kind in (AcceleratorState, GradientState, PartialState)] == [{}, {}, {}]
