"""One of several trainings diverges: it ends as by itself, and the others do not feel it."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from lr_search.schedules import Constant, Schedule
from tests.helpers.fused_cases import NUM_STEPS, alone, assert_same, convolutions, dropouts, fused, mlp, workload

CALM = [Constant(lr) for lr in (0.003, 0.02, 0.05)]
NETS = {"mlp": mlp, "dropout": dropouts, "batch_norm": convolutions(lambda: nn.BatchNorm2d(4))}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "one_for_each": torch.optim.ASGD}


@dataclass(frozen=True)
class Sudden(Schedule):
    """A small LR, but for one step."""

    sudden: float
    at: int = 20

    def values(self, steps):
        return np.where(steps == self.at, self.sudden, 1e-3)

    def describe(self):
        return f"1e-3, and {self.sudden} at step {self.at}"


def assert_untouched(work, wild, rel=1e-6):
    """The calm ones are what they are without the wild one, wherever it stands; and that is what it is by itself."""
    without = fused(work, CALM)
    expected = alone(work, [wild])
    for place in (0, 2):
        together = fused(work, [*CALM[:place], wild, *CALM[place:]])
        assert_same(together[:place] + together[place + 1 :], without, rel)
        assert (together[place].stopped, together[place].step, together[place].reason) == (
            expected[0].stopped,
            expected[0].step,
            expected[0].reason,
        )
        assert together[place].steps == expected[0].steps
    return expected[0]


@pytest.mark.parametrize("model", NETS.values(), ids=NETS)
def test_a_wild_lane_moves_no_neighbour(model):
    rel = 1e-5 if model is NETS["batch_norm"] else 1e-6  # convolutions of one model more are summed in another order

    # without a softmax it soon overflows
    def squares(model, batch):
        return (model(batch[0]) - batch[1][:, None]).square().mean()

    assert assert_untouched(workload(model, loss=squares), Constant(1e4), rel).stopped == "diverged"


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_whatever_the_optimizer(optimizer, clip_norm):
    run = assert_untouched(workload(optimizer=optimizer, clip_norm=clip_norm), Sudden(1e30))
    assert run.stopped in ("diverged", "finished")


@pytest.mark.parametrize("sudden", [math.nan, math.inf, 1e38])
def test_an_lr_that_is_no_number_ends_its_own_lane_alone(sudden):
    run = assert_untouched(workload(), Sudden(sudden))
    assert (run.stopped, run.step) == ("diverged", 22)


class Steps(nn.Module):
    """One weight that goes down by the LR at every step, under a loss that is always finite."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))


def finite(model, batch):
    return model.weight.nan_to_num(neginf=-3e38)


@pytest.mark.parametrize("num_steps", [13, 20, 50])
@pytest.mark.parametrize("eval_every", [1, 7, 13])
def test_a_weight_that_became_non_finite_ends_it_at_its_evaluation(num_steps, eval_every):
    work = workload(Steps, loss=finite, optimizer=torch.optim.SGD, num_steps=num_steps, eval_every=eval_every)
    schedules = [Constant(1e-3), Constant(5e37), Constant(1e-2), Constant(2e37)]
    expected = alone(work, schedules)
    assert [run.stopped for run in expected] == ["finished", "diverged", "finished", expected[3].stopped]
    assert "a weight became non-finite" in expected[1].reason
    assert_same(fused(work, schedules), expected, rel=1e-5)


def test_it_ends_in_the_step_after_whatever_later_steps_show():
    def shown(model, batch):
        return torch.where(batch[0] > 0, model.weight, finite(model, batch))

    batches = [(torch.tensor(float(step == 8)),) for step in range(NUM_STEPS)]  # that step's loss is -inf
    work = workload(Steps, loss=shown, optimizer=torch.optim.SGD, train_data=lambda: batches, eval_every=7)
    work = replace(work, valid_data=lambda: batches[:1])
    schedules = [Constant(5e37), Constant(1e-3)]  # the first is below float32's least number after 7 steps
    runs = fused(work, schedules)
    assert (runs[0].step, runs[0].reason) == (8, "a weight became non-finite by step 7")
    assert_same(runs, alone(work, schedules))


def root(model, batch):
    """The gradient of a weight that was moved from 1 is nan at a batch of zeros, where the loss is 0."""
    return ((model.weight * batch[0]).abs() + (model.weight == 1.0)).sqrt().mean()


@pytest.mark.parametrize("zeros", [4, 12, 49])
def test_all_may_diverge(zeros):
    batches = [(torch.full((4,), float(step != zeros)),) for step in range(NUM_STEPS)]
    work = workload(
        Steps, loss=root, optimizer=torch.optim.SGD, train_data=lambda: batches, valid_data=lambda: batches[:2]
    )
    expected = alone(work, CALM)
    assert {run.stopped for run in expected} == {"diverged"}
    assert_same(fused(work, CALM), expected, rel=1e-5)


def test_steps_end_when_all_have_diverged():
    drawn = []

    def batches():
        for step in range(NUM_STEPS):
            drawn.append(step)
            yield (torch.full((4,), float(step != 2)),)

    work = workload(
        Steps, loss=root, optimizer=torch.optim.SGD, train_data=batches, valid_data=lambda: [(torch.ones(4),)]
    )
    runs = fused(work, CALM)
    assert {(run.stopped, run.step) for run in runs} == {("diverged", 4)}
    assert max(drawn) < 20
