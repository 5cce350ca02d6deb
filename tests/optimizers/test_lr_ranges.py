"""Where each optimizer's LR is searched when nobody says where."""

from functools import partial

import pytest
import torch

from lr_search.optimizers import by_name
from lr_search.optimizers.lr_ranges import RANGES
from lr_search.studies.optimizer_side import range_kind
from tests.helpers.workloads import line


def wrapped(params, lr):
    return torch.optim.AdamW([{"params": list(params)}], lr=lr)


def picky(params, lr):
    """Refuses a weight that is not the model's."""
    params = list(params)
    assert len(params) == 2
    return torch.optim.SGD(params, lr=lr)


def failing(params, lr):
    raise RuntimeError("no optimizer today")


# (low, high) by the issue's own words, or a third to a tenth of AdamW's for Lion; beside the LRs that torch or the authors ship
@pytest.mark.parametrize(
    ("optimizer", "kind", "usual_lr"),
    [
        (torch.optim.SGD, "SGD-like", 0.1),
        (partial(torch.optim.SGD, momentum=0.9, nesterov=True), "SGD-like", 0.01),
        (torch.optim.ASGD, "SGD-like", 0.01),
        (torch.optim.Adam, "Adam-like", 1e-3),
        (wrapped, "Adam-like", 1e-3),
        (torch.optim.RMSprop, "Adam-like", 0.01),
        (torch.optim.Adamax, "Adam-like", 2e-3),
        (torch.optim.Adagrad, "Adagrad-like", 0.01),
        (torch.optim.Adadelta, "Adadelta-like", 1.0),
        (by_name("lion"), "Lion-like", 1e-4),
        (picky, "SGD-like", 0.1),
        (failing, "of unknown kind", 1e-3),
    ],
)
def test_the_range_goes_by_the_optimizers_kind_and_holds_what_is_usual(optimizer, kind, usual_lr):
    assert range_kind(line(optimizer=optimizer)) == kind
    low, high = RANGES[kind]
    assert 10 * low <= usual_lr <= high / 10 or kind == "Lion-like"
    assert low < usual_lr < high


def test_the_documented_ends_are_those_of_the_table():
    assert RANGES["SGD-like"] == (1e-4, 10.0)
    assert RANGES["Adam-like"] == (1e-6, 1.0)
