"""Metrics of every form are averaged over examples, whatever the batches; and nothing but a metric is taken for one."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lr_search.errors import WorkloadError
from lr_search.training.evaluation import evaluate

CPU = torch.device("cpu")
VALUES = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0])
BATCHES = list(VALUES.split(4))  # 4, 4 and a short one of 2


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))


@pytest.mark.parametrize(
    "of_batch",
    [
        lambda batch: batch,
        lambda batch: batch.int(),
        lambda batch: batch.bfloat16(),
        lambda batch: (batch.sum(), len(batch)),
        lambda batch: (float(batch.sum()), float(len(batch))),
        lambda batch: (batch.sum(), torch.tensor(len(batch))),
        lambda batch: batch.mean(),
        lambda batch: batch.mean().requires_grad_(),
        lambda batch: float(batch.mean()),
    ],
    ids=["examples", "integers", "bf16", "sum, count", "floats", "tensors", "scalar", "with gradient", "float"],
)
def test_each_form_gives_the_mean_over_examples(model, of_batch):
    found = evaluate(model, BATCHES, lambda model, batch: {"value": of_batch(batch)}, CPU)
    assert found == {"value": pytest.approx(np.mean([3, 1, 4, 1, 5, 9, 2, 6, 5, 3]))}
    assert type(found["value"]) is float


def test_each_metric_has_its_own_count(model):
    """A mean over tokens: (sum, count) weighs a batch by its tokens, a scalar by its examples."""
    tokens = [5, 1, 9]

    def metrics(model, batch):
        count = tokens[[len(b) == len(batch) and bool((b == batch).all()) for b in BATCHES].index(True)]
        return {"per_token": (2.0 * count + len(batch), count), "per_example": 1.0 * count}

    found = evaluate(model, BATCHES, metrics, CPU)
    assert found["per_token"] == pytest.approx((2 * 15 + 10) / 15)
    assert found["per_example"] == pytest.approx((4 * 5 + 4 * 1 + 2 * 9) / 10)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda batch: (batch, "name"),
        lambda batch: [batch],
        lambda batch: {"ids": batch, "mask": None},
        lambda batch: {"length": torch.tensor(7), "inner": {"ids": [batch]}},
    ],
    ids=["tuple", "list", "dict", "nested"],
)
def test_a_scalar_is_weighted_by_the_first_dimension_of_the_first_tensor_that_has_one(model, wrap):
    means = iter([batch.mean() for batch in BATCHES])
    found = evaluate(model, map(wrap, BATCHES), lambda model, batch: {"value": next(means)}, CPU)
    assert found["value"] == pytest.approx(3.9)


def test_it_is_in_eval_mode_without_gradients_and_puts_the_modes_back(model):
    model.train()
    model[1].eval()  # a frozen batch norm

    def metrics(model, batch):
        modes = [module.training for module in model.modules()]
        return {"trains": float(any(modes)), "gradients": float(model(batch[:, None]).requires_grad)}

    assert evaluate(model, BATCHES, metrics, CPU) == {"trains": 0.0, "gradients": 0.0}
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_the_modes_are_put_back_after_an_exception(model):
    def metrics(model, batch):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate(model, BATCHES, metrics, CPU)
    assert all(module.training for module in model.modules())


def test_a_metric_that_is_nan_in_one_batch_is_nan(model):
    found = evaluate(model, BATCHES, lambda model, batch: {"v": torch.where(batch == 9, math.nan, batch)}, CPU)
    assert math.isnan(found["v"])


@pytest.mark.parametrize(
    ("value", "came"),
    [
        (torch.zeros(4, 2), r"shape \(4, 2\)"),
        ("0.5", "str"),
        (None, "NoneType"),
        ((1.0, 2.0, 3.0), "tuple"),
        ([1.0, 2.0], "list"),
    ],
)
def test_anything_else_is_refused_by_name(model, value, came):
    with pytest.raises(WorkloadError, match=f"'f1' must be a tensor .* got {came}"):
        evaluate(model, BATCHES, lambda model, batch: {"f1": value}, CPU)


def test_no_batches_are_refused(model):
    with pytest.raises(WorkloadError, match="valid_data must give batches, but got none"):
        evaluate(model, [], lambda model, batch: {"loss": 1.0}, CPU)


def test_a_metric_that_counts_nothing_is_nan(model):
    found = evaluate(model, BATCHES, lambda model, batch: {"precision": (torch.tensor(0.0), 0)}, CPU)
    assert math.isnan(found["precision"])


def test_no_metrics_are_no_metrics(model):
    assert evaluate(model, BATCHES, lambda model, batch: {}, CPU) == {}
