"""Fingerprints: of data of any form and length, known again but for rounding; and factories that give something else each time."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from optuna.storages import InMemoryStorage
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import lr_search as lrs
from lr_search.errors import WorkloadError
from lr_search.storage.fingerprints.differences import differences, same_print
from lr_search.storage.fingerprints.fingerprint import fingerprint, fingerprints
from lr_search.storage.fingerprints.prints import pass_print, value_print
from tests.helpers.workloads import data, line, shuffled, squared_error


@dataclass
class Batch:
    inputs: torch.Tensor
    name: str = "a"


def batch_of(x: float, label: int) -> list[Any]:
    """The same numbers in every form that a batch may have."""
    floats, labels = torch.tensor([1.0, x]), torch.tensor([3, label])
    return [
        floats * label,
        {"x": floats, "y": labels},
        [floats, (labels, None)],
        Batch(floats * label),
        SimpleNamespace(inner=SimpleNamespace(x=floats), y=labels),
        [f"a text of {x}", f"another of {label}", label],
        {"x": np.array([1.0, x], np.float32), "y": np.array([label, 2])},
        np.array([{"x": x}, label], dtype=object),
        np.array([f"label {label}", f"x {x}"]),
        torch.sparse_coo_tensor([[0, 2]], floats * label, (4,), check_invariants=True),
        torch.complex(floats, floats) * label,
        torch.tensor([True, label == 1, x > 2]),
        (floats * label).to(torch.bfloat16),
        {"x": floats, "y": {label, 7}},
        torch.nested.nested_tensor([floats, floats[:1] * label], layout=torch.strided),
    ]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("form", range(15))
def test_batches_of_any_form_are_known_again(form: int) -> None:
    assert len(batch_of(2.0, 1)) == 15
    one, again, other = (value_print(batch_of(2.0, label)[form]) for label in (1, 1, 2))
    assert same_print(one, again, 1e-9)
    assert not same_print(one, other, 1e-2)


@pytest.mark.parametrize("make", [torch.randn, lambda n: 100 + torch.rand(n)], ids=["around 0", "around 100"])
@pytest.mark.parametrize("size", [8, 200_000])
def test_rounding_is_the_same_and_a_change_or_another_order_is_not(make: Any, size: int) -> None:
    torch.manual_seed(0)
    x = make(size)
    one = value_print(x)
    assert same_print(one, value_print(x * (1 + 2e-7 * torch.rand(size))), 1e-5)
    assert not same_print(one, value_print(x * (1 + 1e-3 * torch.randn(size))), 1e-5)
    assert not same_print(one, value_print(x.flip(0)), 1e-5)
    assert not same_print(one, value_print(torch.where(torch.arange(size) == 3, float("nan"), x)), 1e-5)


# ---- passes ----


def endless(drawn: list[int]) -> Iterator[torch.Tensor]:
    for place in itertools.count():
        drawn.append(place)
        yield torch.full((2,), float(place))


def test_an_endless_pass_is_not_walked_to_its_end_and_four_batches_always_are() -> None:
    drawn: list[int] = []
    found = pass_print(lambda: endless(drawn), "train_data", 0, seconds=0.0)
    assert (found["batches"], list(found["prints"])) == (None, ["0", "1", "2", "3"])
    assert drawn == [0, 1, 2, 3]
    pass_print(lambda: endless(drawn), "train_data", 0, seconds=60.0)
    assert len(drawn) == 4 + 256


def test_the_batches_are_spread_over_the_pass_and_the_last_is_among_them() -> None:
    found = pass_print(lambda: (torch.tensor(float(i)) for i in range(100)), "valid_data", 0, seconds=60.0)
    assert found["batches"] == 100  # counted
    assert [int(place) for place in found["prints"]] == [*range(16), 16, 32, 64, 99]


def test_what_a_slower_machine_looked_at_is_compared() -> None:
    quick, slow = fingerprint(line(), 0, seconds=60.0), fingerprint(line(), 0, seconds=0.0)
    assert (len(quick["train_data"]["prints"]), len(slow["train_data"]["prints"])) == (8, 4)
    assert differences(quick, slow) == []
    other = fingerprint(line(train_data=lambda: [-batch for batch in shuffled()]), 0, seconds=0.0)
    assert differences(quick, other) == ["the training data differ: 4 of 4 batches"]
    assert differences(other, quick) == ["the training data differ: 4 of 4 batches"]


class Stream(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(data().reshape(-1, 2)[torch.randperm(64)])


@pytest.mark.parametrize(
    "train",
    [
        partial(DataLoader, data().reshape(-1, 2), 8, shuffle=True),
        partial(DataLoader, data().reshape(-1, 2), 8, shuffle=True, num_workers=1),
        partial(DataLoader, Stream(), 8),
        lambda: DataLoader(data().reshape(-1, 2), 8, shuffle=True, generator=torch.Generator().manual_seed(1)),
        lambda: iter(shuffled()),
        shuffled,
    ],
    ids=["loader", "workers", "stream", "generator", "iterator", "list"],
)
def test_what_draws_from_the_seeded_generators_is_steady(train: Any) -> None:
    work = line(train_data=train)
    state = torch.get_rng_state()
    starts = fingerprints({"SGD": work}, [0, 1])
    assert torch.equal(state, torch.get_rng_state())
    assert differences(starts["SGD", 0], fingerprint(work, 0)) == []
    own = isinstance(train(), DataLoader) and train().generator is not None  # the same order under every seed
    assert ("the training data differ: " in " ".join(differences(starts["SGD", 0], starts["SGD", 1]))) is not own


def test_batches_of_text_go_through_a_comparison() -> None:
    texts = [["one", "three"], ["seven", "eleven"]]

    def loss(model: nn.Module, batch: list[str]) -> torch.Tensor:
        lengths = torch.tensor([[float(len(text))] for text in batch])
        return ((model(lengths) - lengths) ** 2).mean()

    storage = InMemoryStorage()
    work = line(train_data=lambda: texts, valid_data=lambda: texts, loss=loss)
    settings: dict[str, Any] = {"strategies": {"mine": 1e-3}, "schedules": ["constant"], "seeds": 1, "progress": False}
    assert len(lrs.compare(work, storage=storage, **settings).trials) == 1
    other = line(train_data=lambda: texts, valid_data=lambda: [["one", "forty"], texts[1]], loss=loss)
    with pytest.raises(lrs.errors.FingerprintError, match="the validation data differ: 1 of 2 batches"):
        lrs.compare(other, storage=storage, **settings)


@pytest.mark.parametrize(
    ("device", "precision", "same"), [("cuda", "fp32", True), ("cpu", "bf16", True), ("cpu", "fp32", False)]
)
def test_another_device_may_compute_in_fewer_bits(device: str, precision: str, same: bool) -> None:
    here = fingerprint(line(), 0) | {"precision": precision}
    there = {
        **here,
        "device": device,
        "loss": here["loss"] * 1.002,
        "metrics": {"loss": here["metrics"]["loss"] * 1.002},
    }
    assert (differences(here, there) == []) is same


# ---- factories ----


def unseeded() -> list[torch.Tensor]:
    return [data()[int(place)] for place in np.random.default_rng().permutation(8)]


def drawn_anew() -> nn.Linear:
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, random.SystemRandom().random())
    return model


def of_another_momentum(params: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr, momentum=random.SystemRandom().random())


NET = nn.Linear(1, 1)
AGAIN = "must give the same each time it is called with the same seed, but"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_data": unseeded}, f"train_data {AGAIN} the training data differ: "),
        ({"valid_data": unseeded}, f"valid_data {AGAIN} the validation data differ: "),
        ({"test_data": unseeded}, f"test_data {AGAIN} the test data differ: "),
        ({"model": drawn_anew}, f"model {AGAIN} the model's initial weights differ"),
        ({"optimizer": of_another_momentum}, f"optimizer {AGAIN} the optimizer's momentum differs"),
        ({"model": lambda: NET}, "model must make a new module each time it is called, but gave the same parameters"),
    ],
    ids=["train", "valid", "test", "model", "optimizer", "shared"],
)
def test_a_factory_that_gives_something_else_each_time_stores_nothing(changes: dict[str, Any], words: str) -> None:
    storage = InMemoryStorage()
    with pytest.raises(WorkloadError, match=words):
        lrs.compare(line(**changes), storage=storage, progress=False)
    assert storage.get_all_studies() == []


def test_a_loss_that_draws_for_itself_is_no_reason_to_refuse() -> None:
    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return squared_error(model, batch) * (1 + 0.1 * random.SystemRandom().random())

    settings: dict[str, Any] = {"strategies": ["random"], "schedules": ["constant"], "seeds": 1, "progress": False}
    storage = InMemoryStorage()
    lrs.compare(line(loss=loss), storage=storage, budget=1, **settings)
    assert len(lrs.compare(line(loss=loss), storage=storage, budget=2, **settings).trials) == 2
    for _ in range(2):
        again = lrs.compare(line(loss=loss), storage=storage, budget=2, confirm=1, **settings)
        assert len(again.confirmations) == 1
