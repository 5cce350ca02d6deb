"""A range test puts back what modules, optimizers and the objects that hang on them keep, whatever class keeps it."""

import copy
import random
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao.quantization import MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver
from torch.optim.swa_utils import AveragedModel

import lr_search as lrs
from tests.helpers.wrapped_optimizers import WRAPPERS


class Observed(nn.Module):
    """Two observers of quantisation-aware training: the buffers of one grow from shape (0)."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)
        self.by_channel, self.whole = MovingAveragePerChannelMinMaxObserver(), MovingAverageMinMaxObserver()

    def forward(self, inputs):
        self.by_channel(self.first.weight)
        return self.last(self.whole(self.first(inputs)))


class Resized(nn.Linear):
    """A buffer in the shape of the batch."""

    def __init__(self):
        super().__init__(6, 3)
        self.register_buffer("seen", torch.full((2, 6), 7.0))

    def forward(self, inputs):
        self.seen.resize_(inputs.shape).copy_(inputs)
        return super().forward(inputs)


class Recurrent(nn.Module):
    """The hidden state goes on from batch to batch, detached."""

    def __init__(self):
        super().__init__()
        self.cell, self.head, self.hidden = nn.GRU(6, 4), nn.Linear(4, 3), None

    def forward(self, inputs):
        outputs, hidden = self.cell(inputs[None, :4], self.hidden)
        self.hidden = hidden.detach()
        return self.head(outputs[0])


class Memory:
    """No module: what it keeps is kept in slots."""

    __slots__ = ("centre", "rows")

    def __init__(self):
        self.centre, self.rows = np.zeros(6), deque(maxlen=3)


class Attributes(nn.Linear):
    """Attributes of every kind, which a forward pass changes in place and anew."""

    def __init__(self):
        super().__init__(6, 3)
        self.calls, self.means, self.by_name = 0, [torch.zeros(6)], {"last": None}
        self.centre, self.memory, self.seen = torch.zeros(6), Memory(), set()
        self.generators = (torch.Generator().manual_seed(1), np.random.default_rng(1), random.Random(1))
        self.averaged = [AveragedModel(nn.Linear(6, 3))]  # in a list: none of the submodules

    def forward(self, inputs):
        self.calls += 1
        self.seen.add(self.calls)
        self.means.append(inputs.mean(0))
        self.means[0].add_(inputs.mean(0))
        self.by_name["last"] = self.calls
        self.centre = 0.9 * self.centre + 0.1 * inputs.mean(0)
        self.memory.centre += 1
        self.memory.rows.append(inputs[0])
        self.averaged[0].update_parameters(nn.Linear(6, 3))
        torch_generator, numpy_generator, python_generator = self.generators
        shift = torch.rand((), generator=torch_generator) + numpy_generator.random() + python_generator.random()
        self.appeared = shift
        return super().forward(inputs + 0.01 * shift)


MODELS = {"observers": Observed, "resized": Resized, "recurrent": Recurrent, "attributes": Attributes}


def loss(model, batch):
    return nn.functional.cross_entropy(model(batch[0])[:4], batch[1][:4])


@pytest.fixture
def batches(examples):
    return [tuple(part[8 * i : 8 * i + 8] for part in examples) for i in range(7)]


def trained(model, optimizer, batches, steps):
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        value = loss(model, batches[step % 7])
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


@pytest.mark.parametrize("interrupted", [False, True], ids=["to its end", "interrupted"])
@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("kind", MODELS)
def test_a_training_goes_on_as_without(batches, seed_all, kind, before, interrupted):
    def losses(tested):
        seed_all(3)
        model = MODELS[kind]()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        first, calls = trained(model, optimizer, batches, before), []

        def counted(model, batch):
            calls.append(1)
            if interrupted and len(calls) == 15:
                raise KeyboardInterrupt
            return loss(model, batch)

        if tested and interrupted:
            with pytest.raises(KeyboardInterrupt):
                lrs.range_test(model, optimizer, batches, counted, num_steps=20)
        elif tested:
            lrs.range_test(model, optimizer, batches, counted, num_steps=20)
        assert len(calls) > 10 or not tested
        assert optimizer.param_groups[0]["lr"] == 0.05
        return first + trained(model, optimizer, batches, 10)

    assert losses(tested=True) == losses(tested=False)


def test_attributes_are_the_same_objects_with_the_same_values(batches, seed_all):
    seed_all(3)
    model = Attributes()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    trained(model, optimizer, batches, 2)
    del model.appeared
    names, held = list(vars(model)), dict(vars(model))
    values = copy.deepcopy((model.means, model.by_name, model.centre, model.memory.centre, list(model.memory.rows)))
    averaged = copy.deepcopy(model.averaged[0].state_dict())
    lrs.range_test(model, optimizer, batches, loss, num_steps=20)
    assert list(vars(model)) == names
    assert all(getattr(model, name) is value for name, value in held.items() if name != "training")
    assert (model.calls, model.seen, len(model.means), model.by_name) == (2, {1, 2}, 3, {"last": 2})
    now = (model.means, model.by_name, model.centre, model.memory.centre, list(model.memory.rows))
    torch.testing.assert_close(now, values, rtol=0, atol=0)
    torch.testing.assert_close(model.averaged[0].state_dict(), averaged, rtol=0, atol=0)


@pytest.mark.parametrize("before", [0, 4])
@pytest.mark.parametrize("kind", WRAPPERS)
def test_what_an_optimizer_keeps_outside_its_state_is_put_back(batches, seed_all, kind, before):
    def losses(tested):
        seed_all(3)
        model = nn.Linear(6, 3)
        optimizer = WRAPPERS[kind](model.parameters())
        first = trained(model, optimizer, batches, before)
        if tested:
            assert lrs.range_test(model, optimizer, batches, loss, num_steps=40, end_lr=1e3).num_steps > 10
        return first + trained(model, optimizer, batches, 12)

    assert losses(tested=True) == losses(tested=False)


class Centred(nn.Module):
    """A loss with a running centre of its own, as in self-distillation."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(3))
        self.calls = 0

    def forward(self, outputs, classes):
        self.calls += 1
        self.centre = 0.9 * self.centre + 0.1 * outputs.detach().mean(0)
        return nn.functional.cross_entropy(outputs - self.centre, classes)


criterion_by_name = Centred()


def test_the_modules_that_a_loss_uses_are_put_back(batches, seed_all):
    seed_all(3)
    model, criterion = nn.Linear(6, 3), Centred()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def of_both(model, batch):
        outputs = model(batch[0])
        return criterion(outputs, batch[1]) + criterion_by_name(outputs, batch[1])

    of_both(model, batches[0])
    centres = criterion.centre.tolist(), criterion_by_name.centre.tolist()
    lrs.range_test(model, optimizer, batches, of_both, num_steps=20)
    assert (criterion.centre.tolist(), criterion_by_name.centre.tolist()) == centres
    assert (criterion.calls, criterion_by_name.calls) == (1, 1)


class Results:
    """What a trainer adds up for its log."""

    def __init__(self):
        self.sums, self.values = {}, nn.ModuleDict()

    def log(self, name, value):
        self.sums[name] = self.sums.get(name, 0.0) + value.detach()


def test_a_trainers_results_are_left_as_found(batches, seed_all):
    class Logging(nn.Linear):
        trainer = None

        def training_step(self, batch):
            value = nn.functional.cross_entropy(self(batch[0]), batch[1])
            self.trainer.results.log("train_loss", value)
            return value

    seed_all(3)
    model = Logging(6, 3)
    model.trainer = type("Trainer", (), {})()
    model.trainer.model, model.trainer.results = model, Results()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.training_step(batches[0])
    results, summed = model.trainer.results, float(model.trainer.results.sums["train_loss"])
    lrs.range_test(model, optimizer, batches, lambda model, batch: model.training_step(batch), num_steps=20)
    assert model.trainer.results is results
    assert float(results.sums["train_loss"]) == summed
