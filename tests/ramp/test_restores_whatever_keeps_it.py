"""A range test puts back what modules, optimizers and the objects that hang on them keep, whatever class keeps it."""

import copy

import pytest
import torch
from torch import nn

import lr_search as lrs
from tests.helpers.keeping_models import MODELS, Attributes, Centred
from tests.helpers.keeping_models import first_four as loss
from tests.helpers.wrapped_optimizers import WRAPPERS


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
