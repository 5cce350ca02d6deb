"""An optimizer of another model is refused, wherever model and optimizer come together."""

import copy

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from lr_search.optimizers.param_groups import foreign
from tests.helpers.workloads import data, line, squared_error


def test_the_models_own_parameters_in_any_groups_are_no_others():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert foreign(model, torch.optim.SGD(model.parameters(), lr=0.1)) == ""
    halves = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in model]
    assert foreign(model, halves) == foreign(nn.Sequential(model), halves) == ""
    model[0].requires_grad_(False)
    assert foreign(model, [halves[1]]) == ""


def test_others_are_counted_and_shown_by_their_shapes():
    model, other = nn.Linear(2, 3), nn.Linear(5, 4)
    optimizer = torch.optim.SGD([*model.parameters(), other.weight], lr=0.1)
    assert foreign(model, optimizer).startswith("got 1 of 3 that are not (of shape (4, 5)). Build the optimizer from")


@pytest.mark.parametrize("which", ["copied", "built anew"])
def test_a_range_test_of_one_model_with_the_optimizer_of_another_is_refused_and_nothing_moves(which):
    model = nn.Linear(1, 1)
    other = copy.deepcopy(model) if which == "copied" else nn.Linear(1, 1)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    with pytest.raises(InvalidInputError, match="The optimizer's parameters must be the model's, but got 2 of 2"):
        lrs.range_test(model, optimizer, data(), squared_error)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_loss_with_weights_of_its_own_belongs_into_one_module_with_the_model():
    model, log_variance = nn.Linear(1, 1), nn.Parameter(torch.zeros(()))
    both = [*model.parameters(), log_variance]
    optimizer = torch.optim.SGD(both, lr=0.1)
    with pytest.raises(InvalidInputError, match="put it and the model into one module"):
        lrs.range_test(model, optimizer, data(), squared_error)
    together = nn.Module()
    together.model, together.log_variance = model, log_variance
    curve = lrs.range_test(
        together, optimizer, data(), lambda module, batch: squared_error(module.model, batch), end_lr=1.0
    )
    assert len(curve.lr) > 20


@pytest.mark.parametrize("part", ["param_groups", "optimizer"])
def test_a_workload_whose_optimizer_is_of_another_model_is_refused(part):
    other = nn.Linear(1, 1)
    factories = {
        "param_groups": lambda model: other.parameters(),
        "optimizer": lambda params, lr: torch.optim.SGD(other.parameters(), lr=lr),
    }
    work = line(**{part: factories[part]})
    for way in (work.range_test, lambda: next(lrs.train(work, lrs.schedules.Constant(0.1)))):
        with pytest.raises(WorkloadError, match="must be the model's, but got 2 of 2 that are not"):
            way()
