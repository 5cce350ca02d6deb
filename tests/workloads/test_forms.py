"""A workload takes what its user has: a loader, a criterion, a module, epochs; and says what to write where it cannot."""

import pickle
import random
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from lr_search.schedules import Constant
from lr_search.storage.fingerprints.fingerprint import fingerprints


def make_net():
    return nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.Linear(8, 3))


def loader_of(examples, **settings):
    return DataLoader(TensorDataset(*examples), **{"batch_size": 8, "shuffle": True, **settings})


def losses_of(workload, seed=0):
    return [evaluation.metrics["loss"] for evaluation in lrs.train(workload, Constant(0.1), seed=seed)]


@pytest.fixture
def workload(examples):
    """Of what the tests give; as written out by hand where they give nothing."""

    def make(**changes):
        settings = {
            "model": make_net,
            "optimizer": torch.optim.SGD,
            "loss": lambda model, batch: functional.cross_entropy(model(batch[0]), batch[1]),
            "train_data": lambda: loader_of(examples),
            "valid_data": lambda: loader_of(examples, shuffle=False),
            "num_steps": 20,
            "eval_every": 10,
            "device": "cpu",
        }
        return lrs.Workload(**{name: value for name, value in {**settings, **changes}.items() if value is not ...})

    return make


# ---- data ----


@pytest.mark.parametrize("generator", [False, True], ids=["global generator", "own generator"])
def test_a_loader_gives_what_its_factory_does_in_every_training(workload, examples, generator):
    """Whatever was drawn from it before: a trial sees the batches that every other of its seed does."""

    def make():
        own = {"generator": torch.Generator().manual_seed(7)} if generator else {}
        return loader_of(examples, **own)

    expected = losses_of(workload(train_data=make))
    loader = make()
    given = workload(train_data=loader, valid_data=loader_of(examples, shuffle=False))
    assert losses_of(given) == expected
    next(iter(loader))  # half a pass of somebody else's
    assert losses_of(given) == expected


def test_a_list_of_batches_is_walked_through_again_and_again(workload, examples):
    batches = [tuple(part[i : i + 8] for part in examples) for i in range(0, 56, 8)]
    assert losses_of(workload(train_data=batches)) == losses_of(workload(train_data=lambda: batches))


class Drifting(Sampler):
    """Keeps a generator that no walk knows of."""

    def __init__(self, size):
        self.size, self.random = size, random.Random(3)

    def __iter__(self):
        return iter(self.random.sample(range(self.size), self.size))

    def __len__(self):
        return self.size


def test_a_loader_that_keeps_its_own_state_is_refused_by_a_comparison(workload, examples):
    given = workload(train_data=DataLoader(TensorDataset(*examples), 8, sampler=Drifting(60)))
    with pytest.raises(
        WorkloadError, match=r"must give the same each time.*must be made anew: train_data=lambda: \.\.\."
    ):
        fingerprints({"SGD": given}, [0])


class Rows(Dataset):
    """Its examples, by default the numbers below 8."""

    def __init__(self, rows=range(8)):
        self.rows = rows

    def __getitem__(self, i):
        return self.rows[i]

    def __len__(self):
        return len(self.rows)


class Indexed:
    """A data set by its methods alone."""

    def __getitem__(self, i):
        return i

    def __len__(self):
        return 8


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(8))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            Rows(),
            "but got the data set Rows, which gives examples, not batches. Wrap it: torch.utils.data.DataLoader(data, ",
        ),
        (Indexed(), "but got the data set Indexed, which gives examples"),
        (Stream(), "but got the data set Stream, which gives examples"),
        (
            iter([1, 2]),
            "but got list_iterator, which is used up after one pass. Pass the loader itself, list(...) of the batches",
        ),
        ((n for n in "ab"), "which is used up after one pass"),
        (
            (torch.zeros(8, 2), torch.zeros(8)),
            "a tuple of 2 tensors. Where these are inputs and targets, hand them to lrs.classif",
        ),
        ("digits", "but got 'digits'."),
    ],
    ids=["data set", "indexed", "stream", "iterator", "generator", "pair", "text"],
)
@pytest.mark.parametrize("name", ["train_data", "valid_data", "test_data"])
def test_data_that_are_no_batches_or_only_once_are_refused_with_the_remedy(workload, name, data, message):
    with pytest.raises(
        InvalidInputError, match=f"^{name} must be a DataLoader or another iterable.*{re.escape(message)}"
    ):
        workload(**{name: data})


@pytest.mark.parametrize("kind", [lrs.classification, lrs.regression])
def test_classification_and_regression_take_loaders(kind, examples):
    inputs, classes = examples
    targets = classes if kind is lrs.classification else classes.float()
    make = partial(nn.Linear, 6, 3 if kind is lrs.classification else 1)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=8, shuffle=True, drop_last=True)
    common = {"model": make, "optimizer": torch.optim.SGD, "num_steps": 14, "eval_every": 7, "device": "cpu"}
    given = kind(train=loader, valid=(inputs, targets), **common)
    written = kind(train=TensorDataset(inputs, targets), valid=(inputs, targets), batch_size=8, **common)
    assert (given.batch_size, given.steps_per_epoch) == (8, 7.0)
    assert losses_of(given)[0] == losses_of(written)[0]  # the same weights and validation data
    assert losses_of(given)[-1] < losses_of(given)[0]


def test_a_workload_of_a_loader_a_criterion_and_a_module_can_be_pickled(workload, examples):
    own = loader_of(examples, generator=torch.Generator().manual_seed(1))
    given = workload(model=make_net(), loss=nn.CrossEntropyLoss(), train_data=own, valid_data=loader_of(examples))
    assert losses_of(pickle.loads(pickle.dumps(given))) == losses_of(given)


# ---- epochs ----


@pytest.mark.parametrize(
    ("num_epochs", "accumulate", "steps"),
    [(2, 1, 16), (2.5, 1, 20), (0.01, 1, 1), (2, 3, 6), (1 / 8, 1, 1)],  # 60 examples in batches of 8: 8 a pass
)
def test_epochs_become_steps_rounded_up(workload, num_epochs, accumulate, steps):
    given = workload(num_steps=..., num_epochs=num_epochs, accumulate=accumulate)
    assert given.num_steps == steps
    assert replace(given, num_steps=5).num_steps == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"num_epochs": 2},
            "num_steps and num_epochs must not both be given, but got num_steps=20, num_epochs=2. Leave one out",
        ),
        (
            {"num_steps": ..., "num_epochs": 0},
            "num_epochs must be above 0 and at most 1,000,000,000, but got num_epochs=0.",
        ),
        ({"num_steps": ..., "num_epochs": "3"}, "num_epochs must be a number or None, but got '3'."),
        (
            {"num_steps": ..., "num_epochs": 2, "train_data": lambda: iter([1, 2])},
            "num_epochs needs training data of known length. Give num_steps instead.",
        ),
    ],
    ids=["both", "none at all", "text", "no length"],
)
def test_epochs_that_are_not_clear_are_refused(workload, changes, message):
    with pytest.raises(InvalidInputError, match=f"^{re.escape(message)}"):
        workload(**changes)


# ---- loss ----


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        functional.cross_entropy,
        partial(functional.cross_entropy, reduction="mean"),
        nn.NLLLoss(),
    ],
    ids=["module", "function", "partial", "of log-probabilities"],
)
def test_a_criterion_is_understood_for_inputs_and_targets(workload, loss):
    seen = workload(loss=loss)
    if isinstance(loss, nn.NLLLoss):
        seen = replace(seen, model=lambda: nn.Sequential(*make_net(), nn.LogSoftmax(1)))
    assert losses_of(seen) == pytest.approx(losses_of(workload()), rel=1e-6)


def test_a_criterion_does_not_understand_other_batches(workload, examples):
    batches = [{"x": examples[0], "y": examples[1]}] * 2
    with pytest.raises(
        WorkloadError,
        match=re.escape(
            "batches (input, target), but got dict. Write one of (model, batch): loss=lambda model, batch: criterion("
        ),
    ):
        losses_of(workload(loss=nn.CrossEntropyLoss(), train_data=batches, valid_data=batches))


@pytest.mark.parametrize("of", [list, lambda pairs: lambda: Rows(pairs)], ids=["a list", "a function's data set"])
def test_a_criterion_does_not_train_on_single_examples(workload, examples, of):
    """A data set where batches should be would train one example a step, and no error would tell."""
    pairs = of(list(zip(*examples, strict=True)))
    with pytest.raises(WorkloadError, match=r"a target without dimensions: one example\. Put a loader around the data"):
        losses_of(workload(loss=nn.CrossEntropyLoss(), train_data=pairs))


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        (
            {"optimizer": "adam"},
            "must be a function or a sequence of functions, but got 'adam'. Pass a class, or a function of (params, lr=...)",
        ),
        ({"optimizer": torch.optim.SGD([torch.zeros(1)], lr=1.0)}, "Pass a class, or a function of (params, lr=...)"),
        ({"loss": "cross_entropy"}, "but got 'cross_entropy'. Pass one of (model, batch), or one of torch's criteria"),
    ],
    ids=["optimizer's name", "optimizer", "loss's name"],
)
def test_what_is_no_function_is_refused_with_what_to_write(workload, changes, remedy):
    with pytest.raises(InvalidInputError, match=re.escape(remedy)):
        workload(**changes)


class Own(nn.Module):
    def forward(self, outputs, targets):
        return functional.cross_entropy(outputs, targets)


@pytest.mark.parametrize(
    ("loss", "takes"),
    [
        (
            Own(),
            "but got Own, which takes (outputs, targets). Write one of (model, batch): loss=lambda model, batch: criterion(mo",
        ),
        (lambda y_pred, y_true: 0, "but got a lambda, which takes (y_pred, y_true)."),
        (nn.TripletMarginLoss(), "but got TripletMarginLoss, which takes (anchor, positive, negative)."),
        (functional.relu, "but got relu, which takes (input)."),
        (nn.CrossEntropyLoss, "but got the class CrossEntropyLoss. Pass an object of it: CrossEntropyLoss()."),
    ],
    ids=["own module", "own function", "three arguments", "no criterion", "class"],
)
def test_another_function_of_outputs_is_refused_with_what_to_write(workload, loss, takes):
    with pytest.raises(InvalidInputError, match=f"^loss must be .*{re.escape(takes)}"):
        workload(loss=loss)


def test_a_module_of_model_and_batch_stays_a_loss(workload):
    class Whole(nn.Module):
        def forward(self, model, batch):
            return functional.cross_entropy(model(batch[0]), batch[1])

    assert losses_of(workload(loss=Whole())) == losses_of(workload())


# ---- model ----


def test_each_training_of_a_module_begins_with_its_weights_and_leaves_them(workload, same_bits):
    module = make_net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    given = workload(model=module)
    with torch.no_grad():
        module[0].weight.zero_()  # what becomes of it later has no say
    starts = [lrs.train(given, Constant(0.1), seed=seed) for seed in (0, 1)]
    assert all(same_bits(training.model.state_dict(), before) for training in starts)
    list(starts[0])
    assert same_bits(lrs.train(given, Constant(0.1)).model.state_dict(), before)


def test_a_module_that_cannot_be_copied_is_refused(workload):
    module = make_net()
    module.produced = torch.ones(1, requires_grad=True) * 2  # no leaf of the graph
    with pytest.raises(
        InvalidInputError, match="must be one that can be copied for each trial, but copying it raised RuntimeError"
    ):
        workload(model=module)


def test_fused_and_one_by_one_find_the_same_of_these_forms(workload, examples):
    given = workload(
        model=make_net(), loss=nn.CrossEntropyLoss(), train_data=loader_of(examples), valid_data=loader_of(examples)
    )
    settings = {
        "strategies": ["grid"],
        "schedules": ["constant"],
        "budget": 3,
        "seeds": 1,
        "storage": None,
        "progress": False,
    }
    one, fused = (
        lrs.compare(given, executor=executor, lr_range=(1e-3, 1.0), **settings).trials["objective"]
        for executor in (lrs.LocalExecutor(), lrs.FusedExecutor())
    )
    np.testing.assert_allclose(one, fused, rtol=1e-5)


# ---- device ----


@pytest.mark.parametrize(
    ("cuda", "mps", "device"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_gpu_that_is_there(workload, monkeypatch, cuda, mps, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    given = workload(device="auto")
    assert given.torch_device.type == device
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InvalidInputError, match="device must be one this machine has, but got device='mps'"):
        workload(device="mps")


# ---- printed ----


def test_a_workload_is_printed_without_addresses(workload, examples):
    given = workload(
        model=make_net, loss=nn.CrossEntropyLoss(), train_data=loader_of(examples), optimizer=partial(torch.optim.SGD, momentum=0.9),
        clip_norm=1.0,
    )  # fmt: skip
    assert str(given).splitlines() == [
        "Workload: make_net by SGD(momentum=0.9), loss CrossEntropyLoss",
        "data: train TensorDataset of 60 examples, valid a lambda",
        "20 steps, evaluated every 10; minimize 'loss'; on cpu, fp32, clip_norm=1",
    ]
    assert " at 0x" not in repr(given)


def test_pairs_of_numbers_are_printed_as_numbers(workload):
    given = workload(optimizer=partial(torch.optim.AdamW, betas=(0.9, 0.95), weight_decay=0.1))
    assert "AdamW(betas=(0.9, 0.95), weight_decay=0.1)" in str(given)
    assert "AdamW(betas=(0.9, 0.95), weight_decay=0.1)" in repr(given)


def test_long_names_are_wrapped_at_80_columns(workload):
    def a_function_with_a_name_that_says_everything_there_is_to_say_about_the_network():
        return make_net()

    lines = str(
        workload(model=a_function_with_a_name_that_says_everything_there_is_to_say_about_the_network)
    ).splitlines()
    assert max(map(len, lines)) <= 80 + 13  # a name is not broken
    assert len(lines) > 3
