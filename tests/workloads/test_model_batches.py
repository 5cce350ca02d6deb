"""Data that are made of the model: a pass of each training's present weights, and back."""

import io
import re

import numpy as np
import pytest
import torch

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from lr_search.fused.support import support_of
from lr_search.rng import seed_everything
from lr_search.schedules import Constant, by_name
from lr_search.workloads import passes
from tests.helpers.shapes import Policy, played, ppo_loss, ppo_workload, returns, rollouts

STEPS_A_PASS = 6  # of the rollouts: 2 epochs of 3 minibatches


def test_the_weights_are_those_of_a_plain_loop(weights, same_bits):
    training = lrs.train(ppo_workload(), Constant(0.02), seed=2)
    told = list(training)
    seed_everything(2)
    model = Policy()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    seed_everything(2)
    step = 0
    while step < 20:
        with torch.no_grad():
            batches = list(rollouts(model))
        for batch in batches[: 20 - step]:
            optimizer.zero_grad()
            ppo_loss(model, batch).backward()
            optimizer.step()
            step += 1
    assert same_bits(weights(training.model), weights(model))
    seed_everything(2)
    with torch.no_grad():
        reached = played(model.eval())[1].sum(dim=0).mean().item()
    assert told[-1].metrics["return"] == pytest.approx(reached, rel=1e-6)


@pytest.mark.parametrize("at", [4, STEPS_A_PASS, 13])
def test_it_goes_on_with_the_same_bits_within_a_pass(weights, same_bits, at):
    workload, schedule = ppo_workload(), by_name("cosine", lr=0.05, num_steps=20)
    whole = lrs.train(workload, schedule)
    list(whole)
    begun = lrs.train(workload, schedule)
    begun.advance(at)
    buffer = io.BytesIO()
    torch.save(begun.state_dict(), buffer)
    buffer.seek(0)
    resumed = lrs.train(workload, schedule)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    list(resumed)
    assert same_bits(weights(resumed.model), weights(whole.model))


@pytest.fixture
def seen():
    """What the functions of the data were called with: (which, in train mode, gradients on)."""
    return []


def watching(seen, **changes):
    def train_data(model):
        seen.append(("train", model.training, torch.is_grad_enabled()))
        return list(rollouts(model.eval()))  # whose mode is put back

    def valid_data(model):
        seen.append(("valid", model.training, torch.is_grad_enabled()))
        return [played(model.train())[1].sum(dim=0)]

    return ppo_workload(**({"train_data": train_data, "valid_data": valid_data} | changes))


def test_a_pass_is_made_in_train_mode_at_its_beginning_and_an_evaluation_in_eval_mode(seen):
    training = lrs.train(watching(seen, num_steps=STEPS_A_PASS + 1, eval_every=4), Constant(0.01))
    list(training)
    valid, train = ("valid", False, False), ("train", True, False)
    assert seen == [valid, train, valid, train, valid]  # at steps 0, 0, 4, 6 and 7
    assert training.model.training


def test_evaluations_change_no_weight(weights, same_bits):
    ends = []
    for eval_every in (1, 20):
        training = lrs.train(ppo_workload(eval_every=eval_every), Constant(0.02))
        list(training)
        ends.append(weights(training.model))
    assert same_bits(*ends)


def test_a_range_test_within_changes_nothing_and_sees_the_present_policy(weights, same_bits):
    ends, curves = [], []
    for tested in (False, True):
        training = lrs.train(ppo_workload(), Constant(0.05))
        for step in (0, 8):
            training.advance(step)
            if tested:
                curves.append(training.range_test(num_steps=20, valid_batches=1))
        list(training)
        ends.append(weights(training.model))
    assert same_bits(*ends)
    assert curves[0].loss[0] != curves[1].loss[0]


def test_what_is_evaluated_on_the_way_moves_no_random_state():
    curves = [ppo_workload().range_test(num_steps=20, valid_batches=count, extend=False) for count in (0, 2)]
    assert curves[0].loss.tolist() == curves[1].loss.tolist()


def test_the_first_steps_of_two_lrs_see_the_same_rollouts(seen):
    """Common random numbers: before the first step the policies are the same, and so is what they meet."""

    def first(lr):
        losses = []

        def loss(model, batch):
            losses.append(batch["seen"].clone())
            return ppo_loss(model, batch)

        list(lrs.train(ppo_workload(loss=loss, num_steps=7), Constant(lr)))
        return losses

    low, high = first(1e-3), first(1e-1)
    assert all(torch.equal(*pair) for pair in zip(low[:STEPS_A_PASS], high[:STEPS_A_PASS], strict=True))
    assert not torch.equal(low[STEPS_A_PASS], high[STEPS_A_PASS])


def test_the_length_of_a_pass_is_not_known():
    assert ppo_workload().steps_per_epoch is None
    settings = {"model": Policy, "optimizer": torch.optim.Adam, "loss": ppo_loss, "valid_data": returns}
    with pytest.raises(InvalidInputError, match="num_epochs needs training data of known length"):
        lrs.Workload(train_data=rollouts, num_epochs=2, **settings)


def test_it_is_not_fused_and_the_reason_says_why():
    reason = "_data that are the same whatever the model, but got some that are made of it"
    assert support_of(ppo_workload(), 0).reason == f"train{reason}"
    given = ppo_workload(train_data=lambda: [played(Policy())[0]] * 2)
    assert support_of(given, 0).reason == f"valid{reason}"


class Other:
    """No batch that another process could go on with."""


@pytest.mark.parametrize(
    ("train_data", "message"),
    [
        (lambda model: 3, "train_data(model) must return an iterable of batches, but got int."),
        (lambda model: [], "train_data must give batches, but got none."),
        (lambda model: list(rollouts(model))[:1], "train_data must give at least 2 batches a pass, but got 1"),
        (lambda model: [Other(), Other()], "The batches of train_data(model) must be tensors, arrays of numbers, numbers, texts, and"),
        (lambda model: ([0] for _ in iter(int, 1)), "train_data(model) must give at most 50 batches, but got more"),
    ],
)  # fmt: skip
def test_passes_of_another_form_are_refused(train_data, message, monkeypatch):
    monkeypatch.setattr(passes, "MOST_MADE", 50)
    with pytest.raises(WorkloadError, match=re.escape(message)):
        list(lrs.train(ppo_workload(train_data=train_data), Constant(0.01)))


def test_batches_of_arrays_and_words_go_on_too():
    def train_data(model):
        return [{"x": np.ones(3, np.float32), "word": "a", "pair": (1.5, None)} for _ in range(3)]

    def loss(model, batch):
        assert (batch["word"], batch["pair"]) == ("a", (1.5, None))
        return model(torch.from_numpy(batch["x"][:2]))[1].square()

    workload = ppo_workload(train_data=train_data, loss=loss)
    begun = lrs.train(workload, Constant(0.01))
    begun.advance(2)
    resumed = lrs.train(workload, Constant(0.01))
    resumed.load_state_dict(begun.state_dict())
    assert [each.step for each in resumed] == [10, 20]
