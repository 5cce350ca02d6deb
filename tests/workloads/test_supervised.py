"""classification() and regression(): from arrays, tensors and data sets; their batches, losses and metrics."""

import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from lr_search.schedules import Constant
from lr_search.workloads.supervised import TensorBatches
from tests.helpers.case_ids import case_id


def make_linear():
    return nn.Linear(6, 3)


def make_line():
    return nn.Linear(6, 1)


class Rows(Dataset):
    """A map-style data set of its own."""

    def __init__(self, *tensors):
        self.tensors = tensors

    def __len__(self):
        return len(self.tensors[0])

    def __getitem__(self, i):
        return tuple(tensor[i] for tensor in self.tensors)


class Duck:
    """A data set by its methods only, as other libraries' are."""

    def __init__(self, *tensors):
        self.rows = list(zip(*tensors, strict=True))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class Endless(IterableDataset):
    def __iter__(self):
        return iter(int, 1)


@pytest.fixture
def classified(examples):
    def make(train=None, valid=None, **settings):
        train, valid = examples if train is None else train, examples if valid is None else valid
        options = {"batch_size": 8, "num_steps": 14, "eval_every": 7, "device": "cpu"} | settings
        return lrs.classification(model=make_linear, optimizer=torch.optim.SGD, train=train, valid=valid, **options)

    return make


FORMS = {
    "tensors": lambda x, y: (x, y),
    "list of tensors": lambda x, y: [x, y],
    "arrays": lambda x, y: (x.numpy(), y.numpy()),
    "float64 arrays, int32 classes": lambda x, y: (x.numpy().astype(np.float64), y.numpy().astype(np.int32)),
    "float64 tensors": lambda x, y: (x.double(), y),
    "lists": lambda x, y: (x.tolist(), y.tolist()),
    "TensorDataset": TensorDataset,
    "Dataset": Rows,
    "Subset": lambda x, y: Subset(TensorDataset(x, y), range(60)),
    "duck": Duck,
}


@pytest.mark.parametrize("form", FORMS)
def test_classification_takes_data_in_many_forms(classified, examples, form):
    data = FORMS[form](*examples)
    workload = classified(data, data)
    evaluations = list(lrs.train(workload, Constant(0.1)))
    expected = list(lrs.train(classified(), Constant(0.1)))
    assert evaluations[0].metrics == pytest.approx(expected[0].metrics, rel=1e-5)
    assert evaluations[-1].metrics["loss"] < evaluations[0].metrics["loss"]
    assert workload.steps_per_epoch == 7.0  # 60 examples in whole batches of 8


def test_classifications_metrics_are_cross_entropy_and_accuracy(classified, examples):
    inputs, classes = examples
    training = lrs.train(classified(), Constant(0.1))
    for evaluation in training:
        logits = training.model(inputs).detach().double().numpy()
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        assert evaluation.metrics == {
            "loss": pytest.approx(-np.log(chances[np.arange(60), classes.numpy()]).mean(), rel=1e-5),
            "accuracy": pytest.approx((logits.argmax(1) == classes.numpy()).mean(), rel=1e-5),
        }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("loss", "minimize")),
        ({"objective": "accuracy"}, ("accuracy", "maximize")),
        ({"objective": "accuracy", "direction": "minimize"}, ("accuracy", "minimize")),
    ],
)
def test_the_direction_follows_the_objective(classified, settings, expected):
    workload = classified(**settings)
    assert (workload.objective, workload.direction) == expected


@pytest.mark.parametrize("shape", [(60,), (60, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_regressions_metrics_are_the_squared_and_the_absolute_error(examples, shape, dtype):
    inputs = examples[0]
    targets = (inputs.sum(1) * 3).round().to(dtype).reshape(shape)
    workload = lrs.regression(
        model=make_line,
        optimizer=torch.optim.SGD,
        train=(inputs, targets),
        valid=(inputs, targets),
        batch_size=8,
        num_steps=14,
        device="cpu",
    )
    training = lrs.train(workload, Constant(0.03))
    for evaluation in training:
        errors = training.model(inputs).detach().numpy().reshape(60) - targets.numpy().reshape(60)
        assert evaluation.metrics == {
            "loss": pytest.approx(np.mean(errors**2), rel=1e-4),
            "mae": pytest.approx(np.mean(np.abs(errors)), rel=1e-4),
        }
    assert (workload.objective, workload.direction, training.step) == ("loss", "minimize", 14)


def regression_on(*pair):
    settings = {"model": make_linear, "optimizer": torch.optim.SGD, "batch_size": 8, "device": "cpu"}
    return lrs.regression(train=pair, valid=pair, **settings)


def test_regression_of_several_targets_averages_over_them(examples):
    inputs = examples[0]
    targets = inputs[:, :3] * 2
    workload = regression_on(inputs, targets)
    training = lrs.train(workload, Constant(0.03))
    first = next(training)
    errors = (training.model(inputs) - targets).detach().numpy()
    assert first.metrics["loss"] == pytest.approx(np.mean(errors**2), rel=1e-5)
    assert first.metrics["mae"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-5)


def test_an_output_that_would_be_broadcast_against_the_targets_is_refused(examples):
    workload = regression_on(examples[0], examples[0][:, 0])
    message = "the model's output must have the targets' shape, but got outputs=(60, 3), targets=(60,)."
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        next(lrs.train(workload, Constant(0.1)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, but got batch_size=0."),
        ({"batch_size": 2.5}, "batch_size must be a whole number or None, but got 2.5."),
        ({"train": torch.zeros(8, 6)}, "a pair (inputs, targets) of arrays or tensors, but got Tensor."),
        ({"train": np.zeros((8, 6))}, "a pair (inputs, targets) of arrays or tensors, but got ndarray."),
        ({"train": "digits"}, "a pair (inputs, targets) of arrays or tensors, but got str."),
        ({"train": {"x": 1, "y": 2}}, "a pair (inputs, targets) of arrays or tensors, but got dict."),
        ({"train": (1, 2, 3)}, "a pair (inputs, targets) of arrays or tensors, but got tuple."),
        ({"train": 5}, "a pair (inputs, targets) of arrays or tensors, but got int."),
        (
            {"train": DataLoader(TensorDataset(torch.zeros(8)), batch_size=4)},
            "batch_size must be that of the loader, but got batch_size=8, loader=4. Leave it out, or give the loader's data set",
        ),
        ({"train": Endless()}, "must be a torch Dataset with a length"),
        (
            {"valid": (torch.zeros(8, 6), torch.zeros(7))},
            "inputs and targets must be equally long, but got inputs=8, targets=7.",
        ),
        (
            {"loss": nn.L1Loss()},
            "a loss of their own, but got loss=L1Loss(). For another build an lr_search.Workload: loss=",
        ),
        ({"train_data": ()}, "The setting must be one that exists, but got 'train_data'. Did you mean 'train'"),
        ({"num_steps": 0}, "num_steps must be a whole number, at least 1, but got 0."),
    ],
    ids=case_id,
)
def test_every_rule_says_what_it_is_and_what_came(classified, changes, message):
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        classified(**changes)


def test_train_and_valid_must_be_given():
    with pytest.raises(InvalidInputError, match="train and valid must be given, but got train=None, valid=None"):
        lrs.classification(model=make_linear, optimizer=torch.optim.SGD, train=None, valid=None)


@pytest.mark.parametrize("examples_given", [8, 32])
def test_too_few_examples_for_two_batches_are_refused(classified, examples, examples_given):
    few = tuple(part[:examples_given] for part in examples)
    workload = classified(few, batch_size=8 if examples_given < 16 else 32)
    with pytest.raises(WorkloadError, match="train_data must give at least 2 batches a pass, but got 1"):
        lrs.train(workload, Constant(0.1))


def test_no_examples_are_refused(classified):
    with pytest.raises(WorkloadError, match="train_data must give batches, but got none"):
        lrs.train(classified((torch.zeros(0, 6), torch.zeros(0))), Constant(0.1))


def test_test_data_are_kept_for_later(classified, examples):
    workload = classified(test=tuple(part[:20] for part in examples))
    assert [len(inputs) for inputs, _ in workload.test_data()] == [20]
    assert classified().test_data is None


def test_validation_sees_every_example_in_order(classified, examples):
    inputs, classes = (torch.cat([part] * 5) for part in examples)
    workload = classified(valid=(inputs, classes))
    batches = list(workload.valid_data())
    assert len(batches) == 2  # in larger batches than the training's 8, a short one last
    assert torch.equal(torch.cat([batch[0] for batch in batches]), inputs)
    assert torch.equal(torch.cat([batch[1] for batch in batches]), classes)


@pytest.mark.parametrize("form", ["tensors", "Dataset"])
def test_a_pickled_workload_trains_the_same(classified, examples, trained, same_bits, form):
    data = FORMS[form](*examples)
    workload = classified(data, data, test=data)
    there = pickle.loads(pickle.dumps(workload))
    (_, one, ours), (_, two, theirs) = (trained(w, Constant(0.1), seed=3) for w in (workload, there))
    assert repr(one) == repr(two)
    assert same_bits(ours, theirs)


@pytest.mark.parametrize(
    ("shuffle", "drop_last", "sizes"),
    [(False, False, [4, 4, 2]), (True, False, [4, 4, 2]), (False, True, [4, 4]), (True, True, [4, 4])],
)
def test_tensor_batches_cut_tensors_as_a_loader_would(shuffle, drop_last, sizes):
    torch.manual_seed(0)
    numbers = torch.arange(10)
    batches = TensorBatches((numbers, numbers * 2), 4, shuffle=shuffle, drop_last=drop_last)
    one, other = list(batches), list(batches)
    assert [len(x) for x, _ in one] == sizes
    assert len(batches) == len(sizes)
    assert all(torch.equal(y, 2 * x) for x, y in one)
    seen, again = (torch.cat([x for x, _ in pass_]).tolist() for pass_ in (one, other))
    assert len(set(seen)) == sum(sizes)
    assert (seen == list(range(sum(sizes)))) is not shuffle
    assert (seen == again) is not shuffle


@pytest.mark.parametrize(("examples", "batches"), [(33, 2), (63, 2), (64, 2), (65, 2), (96, 3)])
def test_a_short_batch_is_dropped_where_two_whole_ones_are_left(examples, batches):
    data = (torch.zeros(examples, 3), torch.zeros(examples))
    workload = lrs.regression(
        model=lambda: nn.Linear(3, 1), optimizer=torch.optim.SGD, train=data, valid=data, batch_size=32
    )
    assert workload.steps_per_epoch == len(list(workload.train_data())) == batches
