"""The walk over batches, and what is read off a batch."""

from collections import OrderedDict, UserDict, defaultdict, namedtuple
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

from lr_search.workloads.batches import BatchWalk, batch_length, generators, length, tensors, to_device

CPU, META = torch.device("cpu"), torch.device("meta")
NUMBERS = TensorDataset(torch.arange(12))


def walk(source, **options):
    return BatchWalk(source, "train_data", CPU, **options)


def take(walk, count):
    return [next(walk)[0].tolist() for _ in range(count)]


def flat(batches):
    return sorted(number for batch in batches for number in batch)


def loader(**options):
    return DataLoader(NUMBERS, batch_size=4, **options)


def test_a_pass_follows_the_other():
    assert take(walk(loader), 7) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]] * 2 + [[0, 1, 2, 3]]


def test_each_pass_is_shuffled_from_the_global_random_state_as_a_loop_would():
    torch.manual_seed(1)
    ours = take(walk(lambda: loader(shuffle=True)), 9)
    torch.manual_seed(1)
    data = loader(shuffle=True)
    assert ours == [batch[0].tolist() for _ in range(3) for batch in data]
    assert flat(ours[:3]) == flat(ours[3:6]) == list(range(12))
    assert ours[:3] != ours[3:6]


def test_each_pass_is_shuffled_from_the_loaders_own_generator_as_a_loop_would():
    ours = take(walk(lambda: loader(shuffle=True, generator=torch.Generator().manual_seed(5))), 9)
    data = loader(shuffle=True, generator=torch.Generator().manual_seed(5))
    assert ours == [batch[0].tolist() for _ in range(3) for batch in data]


def test_every_walk_over_one_loader_begins_at_its_generators_seed_and_leaves_it_alone():
    generator = torch.Generator().manual_seed(5)
    shared = loader(shuffle=True, generator=generator)
    expected = [batch[0].tolist() for _ in range(2) for batch in shared]
    stood = generator.get_state()
    one, other = walk(lambda: shared), walk(lambda: shared)
    interleaved = [(take(one, 1)[0], take(other, 1)[0]) for _ in range(6)]
    assert interleaved == [(batch, batch) for batch in expected]
    assert torch.equal(generator.get_state(), stood)


def test_a_walk_that_is_not_rewound_begins_where_the_generator_stands():
    generator = torch.Generator().manual_seed(5)
    shared = loader(shuffle=True, generator=generator)
    expected = [batch[0].tolist() for _ in range(2) for batch in shared]
    generator.manual_seed(5)
    list(shared)
    assert take(walk(lambda: shared, rewound=False), 3) == expected[3:]


def test_a_generator_is_put_back_when_the_data_raise():
    generator = torch.Generator().manual_seed(5)

    class Failing(TensorDataset):
        def __getitem__(self, i):
            raise OSError("unreadable")

    data = DataLoader(Failing(torch.arange(12)), batch_size=4, shuffle=True, generator=generator)
    stood = generator.get_state()
    with pytest.raises(OSError, match="unreadable"):
        next(walk(lambda: data))
    assert torch.equal(generator.get_state(), stood)


@pytest.mark.parametrize("drawn", [0, 1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize(
    "source",
    [
        lambda: loader(shuffle=True),
        lambda: loader(shuffle=True, generator=torch.Generator().manual_seed(2)),
        lambda: loader(sampler=RandomSampler(NUMBERS, replacement=True, generator=torch.Generator().manual_seed(2))),
        lambda: ([row] for row in torch.randperm(12).split(4)),
        lambda: ([torch.randint(9, (4,))] for _ in range(3)),
    ],
    ids=["loader", "own generator", "replacement", "eager", "lazy"],
)
def test_a_walk_goes_on_from_a_state(source, drawn):
    torch.manual_seed(3)
    begun = walk(source)
    take(begun, drawn)
    state, rng = begun.state_dict(), torch.get_rng_state()
    expected = take(begun, 7)
    torch.manual_seed(3)
    other = walk(source)
    other.load_state_dict(state)
    torch.set_rng_state(rng)
    assert take(other, 7) == expected


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_persistent_workers_of_a_loop_that_is_under_way_are_left_alone():
    data = loader(num_workers=1, persistent_workers=True, shuffle=True)
    loop = iter(data)
    first = next(loop)[0].tolist()
    ours = walk(lambda: data)
    seen = take(ours, 6)
    rest = [batch[0].tolist() for batch in loop]
    assert flat([first, *rest]) == list(range(12))
    assert flat(seen[:3]) == flat(seen[3:]) == list(range(12))

    torch.manual_seed(3)
    take(ours, 5)  # in the middle of a pass that the workers did not start with
    state, rng = ours.state_dict(), torch.get_rng_state()
    expected = take(ours, 4)
    other = walk(lambda: data)
    other.load_state_dict(state)
    torch.set_rng_state(rng)
    assert take(other, 4) == expected
    ours.close()
    other.close()


def test_a_generator_that_draws_when_called_is_called_once_a_pass():
    calls = []

    def source():
        calls.append(torch.get_rng_state())
        return iter([[torch.tensor(i)] for i in range(3)])

    assert take(walk(source), 7) == [0, 1, 2, 0, 1, 2, 0]
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("sampling", "count"),
    [
        ({}, 0),
        ({"shuffle": True}, 0),
        ({"shuffle": True, "generator": torch.Generator()}, 1),
        ({"sampler": RandomSampler(NUMBERS, generator=torch.Generator()), "generator": torch.Generator()}, 2),
    ],
)
def test_a_loaders_generators_are_found(sampling, count):
    assert len(generators(loader(**sampling))) == count


def test_a_batch_samplers_generator_is_found():
    sampler = BatchSampler(RandomSampler(NUMBERS, generator=torch.Generator()), batch_size=4, drop_last=True)
    assert generators(DataLoader(NUMBERS, batch_sampler=sampler)) == [sampler.sampler.generator]
    assert generators(DataLoader(NUMBERS, batch_sampler=BatchSampler(SequentialSampler(NUMBERS), 4, True))) == []


@pytest.mark.parametrize(
    ("data", "expected"), [([1, 2], 2), (iter([1, 2]), None), ((i for i in range(3)), None), (torch.zeros(5, 2), 5)]
)
def test_length_is_that_of_a_pass_or_none(data, expected):
    assert length(data) == expected


Pair = namedtuple("Pair", ["x", "y"])


@dataclass
class Record:
    x: torch.Tensor
    name: str = "r"


def ones():
    return torch.ones(3, 2)


@pytest.mark.parametrize(
    "batch",
    [
        [ones(), 3, "name", None],
        (ones(), [ones()]),
        Pair(ones(), (ones(), 1)),
        {"x": ones(), "inner": {"y": [ones()]}},
        OrderedDict(x=ones()),
        UserDict(x=ones(), name="n"),
        defaultdict(list, x=ones()),
        Record(ones()),
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_every_tensor_of_a_batch_goes_to_the_device_in_the_same_containers(batch):
    moved = to_device(batch, META)
    assert type(moved) is type(batch)
    assert [t.device.type for t in tensors(moved)] == ["meta"] * len(list(tensors(batch)))
    assert all(t.device.type == "cpu" for t in tensors(batch))
    others = [part for part in (batch if isinstance(batch, list) else []) if not isinstance(part, torch.Tensor)]
    assert others == ([part for part in moved if not isinstance(part, torch.Tensor)] if others else [])


def test_a_read_only_mapping_becomes_a_dict():
    moved = to_device(MappingProxyType({"x": ones()}), META)
    assert moved["x"].device.type == "meta"


def test_a_batch_that_can_move_itself_does():
    moved = to_device(pack_sequence([torch.ones(3), torch.ones(2)]), META)
    assert isinstance(moved, PackedSequence)
    assert (moved.data.device.type, moved.batch_sizes.device.type) == ("meta", "cpu")  # its sizes stay, as torch wants


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (ones(), 3),
        ([torch.tensor(1.0), ones()], 3),
        ({"n": 4, "x": {"y": ones()}}, 3),
        (SimpleNamespace(x=ones()), 3),
        (torch.tensor(2.0), 1),
        ("text", 1),
        ([], 1),
    ],
)
def test_a_batch_is_as_long_as_its_first_tensor(batch, expected):
    assert batch_length(batch) == expected
