"""A workload refuses what cannot be trained, saying the rule and what came; and takes any batches."""

import re
from collections import UserDict, namedtuple
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import lr_search as lrs
from lr_search.errors import InvalidInputError, LRSearchError, WorkloadError
from lr_search.schedules import Constant
from tests.helpers.case_ids import case_id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": 3}, "model must be a function, but got 3. Pass one that makes the module, such as lambda: ..."),
        ({"optimizer": "sgd"}, "optimizer must be a function or a sequence of functions, but got 'sgd'."),
        ({"loss": None}, "loss must be a function or a sequence of functions, but got None."),
        ({"train_data": 12}, "or a function that makes one, but got 12."),
        (
            {"valid_data": None},
            "valid_data must be a DataLoader or another iterable of batches that can be walked through again, or",
        ),
        ({"test_data": {"batches": [1]}}, "or a function that makes one, but got {'batches': [1]}."),
        ({"param_groups": []}, "param_groups must be a function or None, but got []."),
        ({"metrics": {}}, "metrics must be a function or None, but got {}."),
        ({"num_steps": 0}, "num_steps must be a whole number, at least 1, but got 0."),
        ({"num_steps": 1.5}, "num_steps must be a whole number, but got 1.5."),
        ({"eval_every": -3}, "eval_every must be a whole number, at least 1, but got -3."),
        ({"accumulate": 0}, "accumulate must be from 1 to 100,000 batches a step, but got accumulate=0."),
        ({"direction": "up"}, "direction must be 'minimize' or 'maximize', but got 'up'."),
        ({"precision": "fp8"}, "precision must be 'fp32', 'bf16' or 'fp16', but got 'fp8'."),
        ({"clip_norm": 0.0}, "clip_norm must be positive, or None, but got clip_norm=0.0."),
        ({"clip_norm": float("nan")}, "clip_norm must be a number or None, but got nan."),
        ({"device": "tpu9"}, "device='tpu9'"),
    ],
    ids=case_id,
)
def test_every_rule_says_what_it_is_and_what_came(make_workload, changes, message):
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        make_workload(**changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there_is_refused(make_workload):
    with pytest.raises(InvalidInputError, match="device must be one this machine has, but got device='cuda'"):
        make_workload(device="cuda")


def test_the_device_is_found_where_the_workload_is_trained(make_workload):
    """A workload may be sent to another machine: what "auto" means there must not go along."""
    workload = make_workload(device="auto")
    assert workload.torch_device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert not any(isinstance(value, torch.device) for value in vars(workload).values())


def run(workload):
    return list(lrs.train(workload, Constant(0.01)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": lambda: "net"}, "model() must return a torch.nn.Module, but got str."),
        ({"model": nn.Identity}, "The model must have parameters to train, but got none that require gradients."),
        ({"model": lambda: nn.Linear(6, 3).requires_grad_(False)}, "The model must have parameters to train"),
        (
            {"optimizer": lambda params, lr: "sgd"},
            "optimizer(params, lr=...) must return a torch.optim.Optimizer, but got str.",
        ),
        (
            {"optimizer": lambda params, lr: torch.optim.SGD(params, lr=0.0)},
            "the first parameter group's lr must be positive",
        ),
        (
            {"param_groups": lambda m: [{"params": [m[0].weight], "lr": 0.1}, {"params": [m[0].bias]}]},
            "Either every parameter group must name an lr or none, but got 1 of 2 that do.",
        ),
        ({"train_data": lambda: 3}, "train_data must return an iterable of batches, but got int."),
        ({"valid_data": lambda: None}, "valid_data must return an iterable of batches, but got NoneType."),
        ({"train_data": list}, "train_data must give batches, but got none."),
        ({"valid_data": list}, "valid_data must give batches, but got none."),
        ({"train_data": lambda: iter([])}, "train_data must give batches, but got none."),
        ({"loss": lambda m, b: m(b[0])}, "must return a scalar tensor, but got a tensor of shape (8, 3)."),
        ({"loss": lambda m, b: m(b[0]).mean().item()}, "must return a scalar tensor, but got float."),
        ({"loss": lambda m, b: None}, "must return a scalar tensor, but got NoneType."),
        ({"loss": lambda m, b: m(b[0]).mean().detach()}, "must depend on the model's parameters"),
    ],
)
def test_what_cannot_be_trained_is_refused(make_workload, changes, message):
    metrics = {"metrics": lambda model, batch: {"loss": 1.0}} if "loss" in changes else {}
    with pytest.raises(LRSearchError, match=re.escape(message)):
        run(make_workload(**metrics, **changes))


@pytest.mark.parametrize(
    "source",
    [
        lambda batch: [batch],
        lambda batch: (batch for _ in range(1)),
        lambda batch: DataLoader(TensorDataset(*batch), batch_size=8),
        lambda batch: DataLoader(OneBatch(batch), batch_size=None),
    ],
    ids=["list", "generator", "DataLoader", "IterableDataset"],
)
@pytest.mark.parametrize("how", ["train", "range_test"])
def test_one_batch_a_pass_is_refused(make_workload, examples, source, how):
    batch = tuple(part[:8] for part in examples)
    workload = make_workload(train_data=lambda: source(batch))
    with pytest.raises(WorkloadError, match="train_data must give at least 2 batches a pass, but got 1"):
        run(workload) if how == "train" else workload.range_test(0)


class OneBatch(IterableDataset):
    def __init__(self, batch):
        self.batch = batch

    def __iter__(self):
        yield self.batch


def test_the_same_batch_twice_is_full_batch_training(make_workload, examples):
    assert len(run(make_workload(train_data=lambda: [examples, examples]))) == 5


def test_an_iterator_that_is_not_made_anew_is_refused_when_it_has_run_out(make_workload, examples):
    once = iter([examples] * 3)
    with pytest.raises(WorkloadError, match="must give batches on every pass, but got none on a later one"):
        run(make_workload(train_data=lambda: once))


def test_lists_and_sequences_are_walked_through_again_and_again(make_workload, examples, cross_entropy):
    class Sequence:
        def __getitem__(self, i):
            if i >= 3:
                raise IndexError
            return tuple(part[i : i + 8] for part in examples)

    seen = []

    def loss(model, batch):
        if model.training:
            seen.append([part.tolist() for part in batch])
        return cross_entropy(model, batch)

    workload = make_workload(train_data=Sequence, loss=loss, num_steps=7)
    assert [e.step for e in run(workload)] == [0, 5, 7]
    assert workload.steps_per_epoch is None
    first = [[part[i : i + 8].tolist() for part in examples] for i in range(3)]
    assert seen == (first * 3)[:7]


Pair = namedtuple("Pair", ["inputs", "classes"])


@dataclass
class Record:
    inputs: torch.Tensor
    classes: torch.Tensor


@pytest.mark.parametrize(
    ("pack", "unpack"),
    [
        (lambda x, y: (x, y), lambda b: b),
        (lambda x, y: [x, y], lambda b: b),
        (lambda x, y: {"x": x, "y": y}, lambda b: (b["x"], b["y"])),
        (lambda x, y: UserDict(x=x, y=y), lambda b: (b["x"], b["y"])),
        (Pair, lambda b: (b.inputs, b.classes)),
        (Record, lambda b: (b.inputs, b.classes)),
        (lambda x, y: {"in": [{"x": (x, "a name")}], "y": y}, lambda b: (b["in"][0]["x"][0], b["y"])),
        (lambda x, y: (x.numpy(), y.numpy()), lambda b: (torch.from_numpy(b[0]), torch.from_numpy(b[1]))),
    ],
    ids=["tuple", "list", "dict", "mapping", "namedtuple", "dataclass", "nested", "numpy"],
)
def test_batches_of_any_shape_train_alike(make_workload, examples, cross_entropy, trained, same_bits, pack, unpack):
    pairs = [tuple(part[8 * i : 8 * i + 8] for part in examples) for i in range(6)]
    packed = [pack(*pair) for pair in pairs]
    settings = {
        "loss": lambda model, batch: cross_entropy(model, unpack(batch)),
        "train_data": lambda: packed,
        "valid_data": lambda: packed,
    }
    _, evaluations, ours = trained(make_workload(**settings), Constant(0.1))
    _, _, expected = trained(make_workload(train_data=lambda: pairs), Constant(0.1))
    assert same_bits(ours, expected)
    assert all(np.isfinite(e.metrics["loss"]) for e in evaluations)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 7.0),  # 60 examples, batches of 8, no short one
        ({"accumulate": 2}, 3.5),
        ({"train_data": lambda: [0, 1, 2]}, 3.0),
        ({"train_data": lambda: iter([0, 1])}, None),
        ({"train_data": lambda: DataLoader(OneBatch(torch.zeros(2)), batch_size=None)}, None),
    ],
)
def test_steps_per_epoch(make_workload, changes, expected):
    assert make_workload(**changes).steps_per_epoch == expected


def test_steps_per_epoch_leaves_the_random_state_alone(make_workload, seed_all, global_rng):
    seed_all(3)
    before = global_rng()
    workload = make_workload(train_data=lambda: [torch.rand(2)] * int(torch.randint(5, 6, ())))
    assert workload.steps_per_epoch == 5.0
    assert global_rng() == before


def test_the_optimizer_gets_its_lr_by_name_and_the_params_of_the_model(make_workload):
    got = []

    def optimizer(params, *, lr):
        got.append((list(params), lr))
        return torch.optim.Adam(got[-1][0], lr=lr)

    workload = make_workload(optimizer=optimizer)
    model, made = workload.build()
    assert [id(p) for p in got[0][0]] == [id(p) for p in model.parameters()]
    assert got[0][1] > 0
    assert isinstance(made, torch.optim.Adam)


def test_build_trains_the_model_from_the_random_state_as_it_is(make_workload, dropout_net, seed_all, same_bits):
    seed_all(11)
    model, _ = make_workload(model=lambda: dropout_net().eval()).build()
    seed_all(11)
    assert same_bits(model.state_dict(), dropout_net().state_dict())
    assert all(module.training for module in model.modules())


def test_a_workload_is_changed_by_replace(make_workload):
    workload = make_workload()
    other = replace(workload, num_steps=99)
    assert (workload.num_steps, other.num_steps, other.loss) == (20, 99, workload.loss)
    assert other.steps_per_epoch == 7.0
