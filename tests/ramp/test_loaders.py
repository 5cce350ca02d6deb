"""The range test on loaders of every kind: cycled, with workers that persist, and left where they were."""

import re
from itertools import chain

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

import lr_search as lrs
from lr_search.errors import InvalidInputError
from tests.helpers.case_ids import case_id

SETTINGS = {"start_lr": 1e-9, "end_lr": 1e-8, "num_steps": 20}


class Stream(IterableDataset):
    """0, 1, 2 ... as a stream of unknown length."""

    def __init__(self, length):
        self._length = length

    def __iter__(self):
        return iter(torch.arange(float(self._length)))


def numbers(length=12):
    return TensorDataset(torch.arange(float(length)))


def seen_in(batches, **options):
    """Range-tests on them. Returns: the batches of the steps, as lists, and the curve."""
    model, seen = nn.Module(), []
    model.weight = nn.Parameter(torch.zeros(()))  # draws no random number

    def loss(model, batch):
        batch = batch[0] if isinstance(batch, list) else batch
        if torch.is_grad_enabled():
            seen.append(batch.tolist())
        return (model.weight - 1) ** 2

    curve = lrs.range_test(model, torch.optim.SGD(model.parameters(), lr=0.1), batches, loss, **(SETTINGS | options))
    return seen, curve


def test_a_stream_is_cycled():
    seen, _ = seen_in(DataLoader(Stream(12), batch_size=5))
    assert seen == (7 * [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]])[:20]


def test_a_short_loader_is_shuffled_anew_on_every_pass():
    torch.manual_seed(0)
    loader = DataLoader(numbers(6), batch_size=3, shuffle=True)
    seen, _ = seen_in(loader)
    passes = [tuple(chain(*seen[i : i + 2])) for i in range(0, 20, 2)]
    assert all(sorted(each) == [0, 1, 2, 3, 4, 5] for each in passes)
    assert len(set(passes)) > 5
    torch.manual_seed(0)
    assert passes[0] == tuple(chain(*(batch[0].tolist() for batch in loader)))


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"num_epochs": 2}, 24),
        ({"num_epochs": 1.8}, 22),
        ({"num_epochs": 4, "accumulate": 2}, 24),
        ({"num_steps": 20}, 20),
    ],
    ids=case_id,
)
def test_passes_are_counted_in_steps(options, steps):
    seen, curve = seen_in(DataLoader(numbers(), batch_size=1), **options)
    assert curve.num_steps == len(curve.lr) == steps  # of 12 batches a pass
    assert len(seen) == steps * options.get("accumulate", 1)
    assert curve.lr[[0, -1]] == pytest.approx([1e-9, 1e-8])


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        (
            DataLoader(Stream(12)),
            {"num_epochs": 3},
            "num_epochs needs batches of known length. Give num_steps instead.",
        ),
        (DataLoader(numbers()), {"num_epochs": 0}, "num_epochs must be a positive number, but got num_epochs=0."),
        (
            DataLoader(numbers()),
            {"num_epochs": float("inf")},
            "num_epochs must be a positive number, but got num_epochs=inf",
        ),
        (DataLoader(numbers()), {"num_epochs": 1}, "num_steps must be at least 20, but got num_steps=12."),
        (DataLoader(numbers()), {"num_steps": 19}, "num_steps must be at least 20, but got num_steps=19."),
    ],
    ids=case_id,
)
def test_what_cannot_be_counted_or_is_too_short_is_refused(batches, options, message):
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        seen_in(batches, **options)


@pytest.mark.parametrize("replacement", [False, True])
def test_a_samplers_own_generator_goes_on_as_if_there_had_been_no_range_test(replacement):
    def training(tested):
        generator = torch.Generator().manual_seed(4)
        sampler = RandomSampler(numbers(), replacement=replacement, generator=generator)
        loader, batches = DataLoader(numbers(), batch_size=3, sampler=sampler), []
        for _ in range(3):
            for index, batch in enumerate(loader):
                if tested and index == 1:
                    seen_in(loader)
                batches.append(batch[0].tolist())
        return batches

    assert training(tested=True) == training(tested=False)


def persistent(shuffle=True, generator=None):
    return DataLoader(
        numbers(), batch_size=3, shuffle=shuffle, num_workers=1, persistent_workers=True, generator=generator
    )


@pytest.mark.parametrize("own", [False, True], ids=["global generator", "own generator"])
@pytest.mark.parametrize("at", [0, 5, 9], ids=["before a pass", "in the first", "in a later one"])
def test_workers_that_persist_go_on_with_their_own_batches(at, own):
    def training(tested):
        torch.manual_seed(0)
        loader, batches = persistent(generator=torch.Generator().manual_seed(4) if own else None), []
        if tested and at == 0:
            assert len(seen_in(loader)[0]) == 20
        while len(batches) < 12:
            for batch in loader:
                if tested and len(batches) == at > 0:
                    seen, _ = seen_in(loader, valid_data=loader)
                    assert all(sorted(chain(*seen[i : i + 4])) == list(range(12)) for i in range(0, 20, 4))
                batches.append(batch[0].tolist())
        return batches, torch.rand(1).item()

    assert training(tested=True) == training(tested=False)


def test_the_workers_it_starts_are_let_go_of(monkeypatch):
    import torch.utils.data.dataloader as module

    ended = []
    shut_down = module._MultiProcessingDataLoaderIter._shutdown_workers
    monkeypatch.setattr(
        module._MultiProcessingDataLoaderIter, "_shutdown_workers", lambda self: (ended.append(self), shut_down(self))
    )
    loader = persistent()
    seen_in(loader, valid_data=loader)
    assert len(set(map(id, ended))) == 2
    assert loader._iterator is None
