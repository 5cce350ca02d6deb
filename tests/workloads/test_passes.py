"""The end of a pass over the data, and a StopIteration that is none."""

import itertools

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

import lr_search as lrs
from lr_search.workloads.batches import BatchWalk
from lr_search.workloads.passes import one_pass
from tests.helpers.workloads import line

CPU = torch.device("cpu")


class Pairs(Dataset):
    """12 pairs, of which one may be beyond reach."""

    def __init__(self, broken=None, error=StopIteration):
        self.broken, self.error = broken, error

    def __len__(self):
        return 12

    def __getitem__(self, index):
        if index == self.broken:
            raise self.error
        return torch.full((2,), float(index))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.arange(12.0))


class Sized:
    """Batches of a length that may be promised otherwise."""

    def __init__(self, num, promised):
        self.num, self.promised = num, promised

    def __len__(self):
        return self.promised

    def __iter__(self):
        return iter([torch.zeros(2)] * self.num)


class Counting:
    """An iterator of the user's own that ends in a helper of its own."""

    def __init__(self):
        self.count = 0

    def __iter__(self):
        return self

    def _more(self):
        self.count += 1
        if self.count > 3:
            raise StopIteration
        return torch.zeros(2)

    @torch.no_grad()
    def __next__(self):
        return self._more()


def stops(batch):
    if float(batch.sum()) > 12:
        raise StopIteration("mine")
    return batch


def stops_at_once(batch):
    raise StopIteration("mine")


WHOLE = {
    "a list": (lambda: [torch.zeros(2)] * 3, 3),
    "a tensor": (lambda: torch.zeros(5, 2), 5),
    "a loader": (lambda: DataLoader(Pairs(), 4), 3),
    "a loader's iterator": (lambda: iter(DataLoader(Pairs(), 4)), 3),
    "a loader with workers": (lambda: DataLoader(Pairs(), 4, num_workers=1), 3),
    "a stream": (lambda: DataLoader(Stream(), 4), 3),
    "a stream of single examples": (lambda: DataLoader(Stream(), None), 12),
    "map": (lambda: map(torch.Tensor.float, DataLoader(Pairs(), 4)), 3),
    "zip of iterators": (lambda: zip(DataLoader(Pairs(), 4), itertools.count(), strict=False), 3),
    "a generator": (lambda: (batch for batch in torch.zeros(4, 2)), 4),
    "an iterator of one's own": (Counting, 3),
    "one that has more than it says": (lambda: Sized(4, 3), 4),
}


@pytest.mark.parametrize(("data", "expected"), WHOLE.values(), ids=WHOLE.keys())
def test_a_whole_pass(data, expected):
    assert len(list(one_pass(data(), "valid_data"))) == expected


CUT = {
    "an item of a loader": lambda: DataLoader(Pairs(8), 4),
    "an item of a loader without batches": lambda: DataLoader(Pairs(8), None),
    "collate_fn": lambda: DataLoader(Pairs(), 4, collate_fn=lambda batch: stops(torch.stack(batch))),
    "collate_fn of a stream": lambda: DataLoader(Stream(), 4, collate_fn=stops_at_once),
    "a worker": lambda: DataLoader(Pairs(8), 4, num_workers=1),
    "a function that is mapped": lambda: map(stops, DataLoader(Pairs(), 4)),
    "a function that is mapped, within zip": lambda: zip(map(stops, DataLoader(Pairs(), 4)), strict=False),
}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT.keys())
def test_a_stop_iteration_on_the_way_to_a_batch(data):
    with pytest.raises(RuntimeError, match=r"valid_data must raise no StopIteration of its own, but batch \d did") as f:
        list(one_pass(data(), "valid_data"))
    assert isinstance(f.value.__cause__, StopIteration)


class OldProtocol(Pairs):
    """Neither iterable nor a loader: Python asks for one item after the other, and takes IndexError for the end as well."""


@pytest.mark.parametrize("error", [StopIteration, IndexError])
@pytest.mark.parametrize("data", [lambda error: OldProtocol(8, error), lambda error: Sized(8, 12)])
def test_a_pass_that_is_shorter_than_it_says(data, error):
    with pytest.raises(RuntimeError, match=r"valid_data must give as many batches .* got 8 of 12"):
        list(one_pass(data(error), "valid_data"))


@pytest.mark.long
def test_a_walk_ends_no_pass_early():
    walk = BatchWalk(lambda: DataLoader(Pairs(8), 4), "train_data", CPU)
    assert len([next(walk), next(walk)]) == 2
    with pytest.raises(RuntimeError, match="train_data must raise no StopIteration of its own, but batch 2 did"):
        next(walk)


def test_a_walk_whose_source_stops():
    class Stops:
        def __iter__(self):
            raise StopIteration

    with pytest.raises(RuntimeError, match="The user's code raised StopIteration"):
        next(BatchWalk(Stops, "train_data", CPU))


def test_an_objective_over_a_part_of_the_validation_data_is_none():
    training = lrs.train(line(valid_data=lambda: DataLoader(Pairs(8), 4)), lrs.schedules.Constant(0.01))
    with pytest.raises(RuntimeError, match="valid_data must raise no StopIteration"):
        next(training)
