"""Trainings with several optimizers, a loss for each: as a plain loop trains them, and whatever else a training does."""

import io

import pytest
import torch

import lr_search as lrs
from lr_search.errors import InvalidInputError
from lr_search.fused.support import support_of
from lr_search.rng import seed_everything
from lr_search.schedules import Constant, by_name
from tests.helpers.shapes import GAN, RATIO, discriminator_loss, gan_optimizers, gan_workload, generator_loss, points


@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_the_weights_are_those_of_a_plain_loop(weights, same_bits, clip_norm):
    schedule = by_name("cosine", lr=0.1, num_steps=20)
    training = lrs.train(gan_workload(clip_norm=clip_norm), schedule, seed=3)
    list(training)
    seed_everything(3)
    model = GAN()
    optimizers = gan_optimizers(model, 1.0)
    seed_everything(3)
    for step in range(20):
        batch = points()[step % 5]
        for optimizer, loss, ratio in zip(optimizers, (discriminator_loss, generator_loss), (1.0, RATIO), strict=True):
            optimizer.param_groups[0]["lr"] = schedule(step) * ratio
            optimizer.zero_grad()
            loss(model, batch).backward()
            if clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], clip_norm)
            optimizer.step()
    assert same_bits(weights(training.model), weights(model))


@pytest.mark.parametrize(
    "changes", [{}, {"accumulate": 2}, {"precision": "fp16"}], ids=["plain", "accumulated", "fp16"]
)
def test_it_goes_on_with_the_same_bits(weights, same_bits, changes):
    workload, schedule = gan_workload(**changes), by_name("one_cycle", lr=0.1, num_steps=20)
    whole = lrs.train(workload, schedule)
    evaluations = list(whole)
    begun = lrs.train(workload, schedule)
    assert begun.advance(7)
    buffer = io.BytesIO()
    torch.save(begun.state_dict(), buffer)
    buffer.seek(0)
    resumed = lrs.train(workload, schedule)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    assert repr(list(resumed)[-1].metrics) == repr(evaluations[-1].metrics)
    assert same_bits(weights(resumed.model), weights(whole.model))


def test_a_range_test_within_changes_nothing(weights, same_bits):
    ends = []
    for tested in (False, True):
        training = lrs.train(gan_workload(), Constant(0.05))
        training.advance(9)
        if tested:
            curve = training.range_test(num_steps=20)
            assert curve.group_ratios == (1.0, RATIO)
        list(training)
        ends.append(weights(training.model))
    assert same_bits(*ends)


def test_the_range_test_of_a_workload_is_that_of_live_objects():
    curve = gan_workload().range_test(seed=1, end_lr=1.0, num_steps=20, extend=False)
    seed_everything(1)
    model = GAN()
    optimizers = gan_optimizers(model, 1e-3)
    seed_everything(1)
    other = lrs.range_test(
        model, optimizers, points(), [discriminator_loss, generator_loss], end_lr=1.0, num_steps=20, extend=False
    )
    assert curve.loss.tolist() == other.loss.tolist()
    with pytest.raises(InvalidInputError, match="several losses are trained in turn"):
        gan_workload().range_test(gain_ratio=True)


def test_branches_and_refind_train_it_too():
    branches = lrs.branches(gan_workload(num_steps=12), 0.05, lengths=[6, 12])
    whole = list(lrs.train(gan_workload(num_steps=12), branches.at(12).schedule))[-1]
    assert branches.at(12).evaluations[-1].metrics == whole.metrics
    assert list(lrs.refind(gan_workload(), Constant(0.01), at=[0, 10], range_test={"num_steps": 20}).curves) == [0, 10]


def test_it_is_not_fused_and_the_reason_says_why():
    reason = support_of(gan_workload(), 0).reason
    assert reason == "one optimizer, but got 2 (Adam, SGD), which take steps of their own"


def test_a_loss_that_is_not_finite_by_a_batch_is_told_as_such():
    bad = [*points()[:3], torch.full((8, 2), float("nan")), *points()[4:]]
    with pytest.raises(lrs.errors.WorkloadError, match="is nan on batch 4 of pass 1 over train_data"):
        list(lrs.train(gan_workload(train_data=lambda: bad), Constant(0.01)))
