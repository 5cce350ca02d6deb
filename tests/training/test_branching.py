"""branches(): several lengths of warmup-stable-decay off one trunk, each equal to the bit to a training of its own."""

from dataclasses import replace

import prodigyopt
import pytest
import schedulefree
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from lr_search.schedules import by_name

LENGTHS = [10, 23, 40]  # a pass has 7 batches, an evaluation comes every 5 steps


@pytest.fixture
def alone():
    """A training of so many steps by itself, from the beginning to its end. Returns: it and its evaluations."""

    def run(workload, name, lr, length, seed=1, **options):
        training = lrs.train(replace(workload, num_steps=length), by_name(name, lr, length, **options), seed=seed)
        return training, list(training)

    return run


@pytest.fixture
def equal_to_alone(alone, weights, same_bits):
    """Trains the branches, then each length by itself: all must come out the same. Returns: the branches."""

    def run(workload, lengths=LENGTHS, *, lr=0.05, warmup_steps=0, stable=False, **options):
        taken = lrs.branches(workload, lr, lengths, seed=1, warmup_steps=warmup_steps, stable=stable, **options)
        for branch, length in zip(list(taken), sorted(lengths), strict=True):
            training, evaluations = alone(workload, "wsd", lr, length, warmup_steps=warmup_steps, **options)
            assert (branch.num_steps, branch.schedule) == (length, training.schedule)
            assert repr(branch.evaluations) == repr(evaluations)
            assert (branch.stopped, branch.reason) == (training.stopped, training.reason)
            if branch.stopped == "finished":  # after a divergence the steps of its block go on
                assert same_bits(weights(branch.model), weights(training.model))
            if stable:
                training, evaluations = alone(workload, "constant", lr, length, warmup_steps=warmup_steps)
                assert repr(branch.stable) == repr(evaluations[-1] if training.stopped == "finished" else None)
            else:
                assert branch.stable is None
        return taken

    return run


@pytest.mark.parametrize(
    ("changes", "stable"),
    [
        ({}, False),
        ({"optimizer": torch.optim.Adam}, True),
        ({"optimizer": schedulefree.AdamWScheduleFree}, True),
        ({"optimizer": prodigyopt.Prodigy}, False),
        ({"accumulate": 3, "clip_norm": 0.1}, True),
        ({"precision": "fp16"}, False),
        ({"eval_every": 100}, True),
    ],
    ids=["momentum", "Adam", "Schedule-Free", "Prodigy", "accumulated and clipped", "fp16", "seldom evaluated"],
)
def test_each_is_the_training_of_its_length_to_the_bit(make_workload, equal_to_alone, changes, stable):
    """The net has dropout and a batch norm, the loader shuffles, and passes end in the trunk and in the cooldowns."""
    equal_to_alone(make_workload(**changes), stable=stable)


@pytest.mark.parametrize(
    "options",
    [
        {"warmup_steps": 6, "stable": True},
        {"decay_share": 0.33, "decay": "linear", "final_ratio": 0.1},
        {"decay_share": 1.0, "warmup_steps": 3},  # nothing is stable: the trunk is the warm-up
        {"decay_share": 1.0, "stable": True},  # nor is there a trunk, but for the constant training
        {"lengths": [40, 38, 39], "stable": True},  # each begins to decay before the others end
        {"lengths": [2]},
    ],
    ids=str,
)
def test_so_it_is_under_every_option(make_workload, equal_to_alone, options):
    equal_to_alone(make_workload(), **options)


def test_so_it_is_where_all_walk_over_one_loader(make_workload, examples, equal_to_alone):
    generator = torch.Generator().manual_seed(4)
    loader = DataLoader(TensorDataset(*examples), batch_size=8, shuffle=True, generator=generator)
    equal_to_alone(make_workload(train_data=lambda: loader), stable=True)


def test_so_it_is_where_the_loss_remembers(make_workload, alone, cross_entropy):
    class Counting(nn.Module):
        """Weighs the loss by how many batches it has seen in training."""

        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, model, batch):
            if model.training:
                self.seen += 1
            return cross_entropy(model, batch) * (1 + self.seen)

    taken = lrs.branches(make_workload(loss=Counting()), 0.001, LENGTHS, seed=1, stable=True)
    for branch in taken:
        _, evaluations = alone(make_workload(loss=Counting()), "wsd", 0.001, branch.num_steps, warmup_steps=0)
        assert repr(branch.evaluations) == repr(evaluations)


# ---- what it costs ----


def test_each_is_trained_when_it_is_asked_for_and_kept(make_workload):
    taken = lrs.branches(make_workload(), 0.05, [40, 10, 20], stable=True)
    assert (taken.lengths, taken.steps) == ([10, 20, 40], 0)
    second = taken.at(20)
    assert taken.steps == 20 + 2 + 4  # the trunk, and two cooldowns
    assert taken.at(10).num_steps == 10
    assert taken.steps == 26
    assert [branch.num_steps for branch in taken] == [10, 20, 40]
    assert taken.steps == 40 + 2 + 4 + 8
    assert list(taken)[1] is second


def test_the_longest_is_the_trunk_itself(make_workload):
    taken = lrs.branches(make_workload(), 0.05, [10, 20, 40])
    assert [branch.stopped for branch in taken] == ["finished"] * 3
    assert taken.steps == 40 + 2 + 4


def test_the_callers_random_state_is_left_alone(make_workload, seed_all, global_rng):
    seed_all(8)
    before = global_rng()
    assert len(list(lrs.branches(make_workload(), 0.05, [10, 20], stable=True))) == 2
    assert global_rng() == before


# ---- what goes wrong ----


@pytest.fixture
def exploding(make_workload):
    """Its weights grow by a factor at each step, beyond single precision after some: at LR 9 after 20 of them."""
    return make_workload(
        model=lambda: nn.Linear(6, 1),
        optimizer=torch.optim.SGD,
        loss=lambda model, batch: -model.weight.square().sum() / 2 + 0 * model(batch[0]).sum(),
    )


def test_those_that_fork_off_after_a_divergence_have_diverged(exploding, equal_to_alone):
    taken = equal_to_alone(exploding, [10, 20, 30, 40, 50], lr=9.0)
    assert [branch.stopped for branch in taken] == ["finished", "finished", *["diverged"] * 3]
    assert len({branch.reason for branch in list(taken)[2:]}) == 1
    assert taken.at(40).evaluations == taken.at(50).evaluations
    assert taken.steps < 30


def test_a_divergence_at_the_constant_lr_alone_shows_there_alone(exploding, equal_to_alone):
    taken = equal_to_alone(exploding, [10, 21], lr=9.0, stable=True)
    assert [branch.stopped for branch in taken] == ["finished", "finished"]
    assert taken.at(10).stable is not None
    assert taken.at(21).stable is None


@pytest.mark.parametrize("after", [5, 17])  # in the trunk, and in the cooldown of 20
def test_what_interrupts_one_closes_all(make_workload, cross_entropy, after):
    steps = [0]

    def interrupted(model, batch):
        steps[0] += model.training
        if steps[0] == after + 2 + 1:  # the cooldown of 10 took two
            raise KeyboardInterrupt
        return cross_entropy(model, batch)

    taken = lrs.branches(make_workload(loss=interrupted), 0.05, [10, 20, 40])
    done = taken.at(10) if after > 8 else None
    with pytest.raises(KeyboardInterrupt):
        list(taken)
    if done is not None:
        assert taken.at(10) is done
    with pytest.raises(InvalidInputError, match=r"before the branches are closed, but got length=40"):
        taken.at(40)


def test_a_model_that_is_always_the_same_is_refused(make_workload):
    model = nn.Linear(6, 3)
    taken = lrs.branches(make_workload(model=lambda: model), 0.05, [10, 20])
    with pytest.raises(WorkloadError, match="model must make a new module each time it is called"):
        taken.at(10)


def test_a_length_that_is_not_there_is_named(make_workload):
    taken = lrs.branches(make_workload(), 0.05, [10, 20])
    with pytest.raises(InvalidInputError) as refused:
        taken.at(15)
    assert str(refused.value) == (
        "length must be on these branches, which are [10, 20], but got length=15. Name it in lengths."
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lengths": []}, r"lengths must be from 1 to 1,000 of them, but got lengths=\[\]"),
        ({"lengths": [10, 20, 10]}, r"lengths must differ from each other, but got lengths=\[10, 20, 10\]"),
        ({"lengths": [7, 20], "warmup_steps": 6}, r"at least warmup_steps \+ 2 .* lengths=\[7, 20\], warmup_steps=6"),
        ({"lengths": [1, 20]}, r"at least warmup_steps \+ 2 .* lengths=\[1, 20\], warmup_steps=0"),
        ({"lengths": [10**9]}, "at most 100,000,000"),
        ({"lengths": [10, 20.5]}, "lengths must be a sequence of whole numbers"),
        ({"lr": 0.0}, "lr must be a number above 0"),
        ({"lr": float("inf")}, "lr must be positive and finite"),
        ({"decay_share": 0.0}, "decay_share must be above 0 and at most 1"),
        ({"final_ratio": 2.0}, "final_ratio must lie between 0 and 1"),
        ({"decay": "cosine"}, "decay must be '1-sqrt' or 'linear'"),
        ({"workload": "digits"}, r"workload must be .* but got 'digits'"),
    ],
    ids=str,
)
def test_wrong_input_is_refused_before_anything_is_made(make_workload, arguments, words):
    made = []
    workload = make_workload(model=lambda: made.append(nn.Linear(6, 3)) or made[-1])
    with pytest.raises(InvalidInputError, match=words):
        lrs.branches(**{"workload": workload, "lr": 0.05, "lengths": [10, 20], **arguments})
    assert made == []
