"""branches(): several lengths of warmup-stable-decay off one trunk, each equal to the bit to a training of its own."""

from dataclasses import replace

import pytest
import torch

import lr_search as lrs
from lr_search.schedules import by_name

LENGTHS = [10, 23, 40]  # a pass has 7 batches, an evaluation comes every 5 steps


@pytest.fixture
def require_equal_to_trainings(weights, same_bits):
    """Trains the branches, and each length by itself: both must come out the same."""

    def run(workload, lengths=LENGTHS, *, lr=0.05, seed=1, warmup_steps=0, stable=False, **options):
        taken = lrs.branches(workload, lr, lengths, seed=seed, warmup_steps=warmup_steps, stable=stable, **options)
        for branch, length in zip(taken, sorted(lengths), strict=True):
            schedule = by_name("wsd", lr, length, warmup_steps=warmup_steps, **options)
            alone = lrs.train(replace(workload, num_steps=length), schedule, seed=seed)
            assert repr(branch.evaluations) == repr(list(alone))
            assert (branch.stopped, branch.reason, branch.schedule) == (alone.stopped, alone.reason, schedule)
            assert same_bits(weights(branch.model), weights(alone.model))
            if stable:
                schedule = by_name("constant", lr, length, warmup_steps=warmup_steps)
                assert repr(branch.stable) == repr(
                    [*lrs.train(replace(workload, num_steps=length), schedule, seed=seed)][-1]
                )
            else:
                assert branch.stable is None
        return taken

    return run


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": torch.optim.Adam},
        {"accumulate": 3, "clip_norm": 0.1},
        {"precision": "fp16"},
        {"eval_every": 100},
    ],
    ids=["momentum", "Adam", "accumulate and clip", "fp16", "seldom evaluated"],
)
def test_equal_to_trainings_of_their_own(make_workload, require_equal_to_trainings, changes, stable):
    require_equal_to_trainings(make_workload(**changes), stable=stable)
