"""Optimizers with a train and an eval mode (Schedule-Free): the averaged weights are judged, the others trained."""

import itertools

import numpy as np
import prodigyopt
import pytest
import schedulefree
import torch
from torch import nn

import lr_search as lrs
from lr_search.schedules import Constant
from tests.helpers.bowl import bowl
from tests.helpers.schedule_free import EVERY_KIND, KINDS, LR, by_hand, free, normed, plain, same, seeded, wide
from tests.helpers.workloads import data, squared_error


class Averaging(torch.optim.SGD):
    """SGD that shows the mean of all weights so far; switches by a flag of its own, as another package's might."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.showing, self.count = False, 0

    def step(self, closure=None):
        assert not self.showing
        super().step(closure)
        self.count += 1
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            state["mean"] = state.get("mean", 0) + (parameter.detach() - state.get("mean", 0)) / self.count

    @torch.no_grad()
    def _exchange(self, showing):
        if showing != self.showing:
            for parameter, state in self.state.items():
                held = parameter.clone()
                parameter.copy_(state["mean"])
                state["mean"] = held
        self.showing = showing

    def train(self):
        self._exchange(showing=False)

    def eval(self):
        self._exchange(showing=True)


def test_any_optimizer_with_both_modes_is_switched():
    training = lrs.train(bowl(optimizer=Averaging), Constant(0.1), seed=5)
    found = {evaluation.step: evaluation.metrics["loss"] for evaluation in training}
    start = 1 + torch.rand((), generator=torch.Generator().manual_seed(5)).item()
    path = start * 0.8 ** np.arange(1, 21)  # a step in the bowl multiplies the weight by 1 - 2 lr
    expected = {0: start**2} | {step: path[:step].mean() ** 2 for step in (5, 10, 15, 20)}
    assert found == pytest.approx(expected, rel=1e-5)
    assert training.model.w.item() == pytest.approx(path.mean(), rel=1e-5)
    assert training.optimizer.showing


@EVERY_KIND
def test_an_evaluation_is_of_the_averaged_weights_of_a_plain_loop(kind):
    training = lrs.train(free(optimizer=kind), Constant(LR), seed=0)
    steps = []
    for evaluation in training:
        model = seeded()
        by_hand(model, kind, evaluation.step).eval()
        # the plain loop of so many steps was not looked at on the way: the same bits
        assert same(training.model, model)
        losses = [squared_error(model, batch).item() for batch in data()]
        assert evaluation.metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
        steps.append(evaluation.step)
    assert steps == [0, 10, 20, 30]
    assert not training.optimizer.param_groups[0]["train_mode"]


@EVERY_KIND
def test_the_averaged_weights_are_not_the_trained_ones(kind):
    model = seeded()
    optimizer = by_hand(model, kind, 10)
    trained = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer.eval()
    assert not any(torch.equal(one, other) for one, other in zip(trained, model.parameters(), strict=True))


@EVERY_KIND
def test_how_often_a_training_is_evaluated_changes_no_bit(kind):
    ends = []
    for every in (1, 7, 30):
        training = lrs.train(free(optimizer=kind, model=wide, eval_every=every), Constant(LR))
        list(training)
        state = training.state_dict()
        ends.append(
            [state["trained"], *plain(training.optimizer.state_dict()["state"]).values(), plain(state["model"])]
        )
    assert plain(ends[0]) == plain(ends[1]) == plain(ends[2])


def test_the_switch_of_the_package_itself_does_round():
    # were it exact, nothing would have to be kept aside
    model = seeded(wide)
    optimizer = by_hand(model, schedulefree.AdamWScheduleFree, 30)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer.eval()
    optimizer.train()
    moved = [(one - other).abs().max().item() for one, other in zip(before, model.parameters(), strict=True)]
    assert 0 < max(moved) < 1e-6


def test_snapshots_are_of_the_averaged_weights():
    training = lrs.train(free(), Constant(LR), snapshots=2)
    list(training)
    assert [snapshot.step for snapshot in training.snapshots] == [20, 30]
    for snapshot in training.snapshots:
        model = seeded()
        by_hand(model, schedulefree.AdamWScheduleFree, snapshot.step).eval()
        assert plain(dict(snapshot.weights)) == plain(dict(model.state_dict()))


def test_advance_shows_the_averaged_weights_too():
    training = lrs.train(free(), Constant(LR))
    training.advance(13)
    model = seeded()
    by_hand(model, schedulefree.AdamWScheduleFree, 13).eval()
    assert same(training.model, model)


@pytest.mark.parametrize("make", [wide, normed])
@pytest.mark.parametrize("optimizer", [*KINDS.values(), prodigyopt.Prodigy])
def test_a_training_goes_on_from_its_state_in_the_same_bits(optimizer, make, tmp_path):
    workload = free(optimizer=optimizer, model=make)
    undisturbed = lrs.train(workload, Constant(LR))
    list(undisturbed)
    first = lrs.train(workload, Constant(LR))
    assert next(first).step == 0
    assert next(first).step == 10
    torch.save(first.state_dict(), tmp_path / "state.pt")
    first.advance(25)  # what was saved does not depend on it
    second = lrs.train(workload, Constant(LR))
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [evaluation.step for evaluation in second] == [20, 30]
    assert same(second.model, undisturbed.model)
    assert plain(second.optimizer.state_dict()) == plain(undisturbed.optimizer.state_dict())


def test_a_state_after_advance_goes_on_as_well(tmp_path):
    undisturbed = lrs.train(free(), Constant(LR))
    evaluations = list(undisturbed)
    first = lrs.train(free(), Constant(LR))
    first.advance(10)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = lrs.train(free(), Constant(LR))
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [e.metrics for e in second] == [e.metrics for e in evaluations[1:]]


def test_a_training_that_diverges_says_so():
    training = lrs.train(free(optimizer=schedulefree.SGDScheduleFree, model=lambda: nn.Linear(1, 1)), Constant(1e6))
    list(training)
    assert training.stopped == "diverged"


class Counting(nn.Module):
    """Counts its forward passes in train mode, as a codebook or a spectral norm does."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return x


def test_the_statistics_of_batch_norms_are_those_of_the_averaged_weights():
    training = lrs.train(free(model=lambda: nn.Sequential(Counting(), *normed())), Constant(LR))
    evaluation = list(training)[-1]
    model = seeded(normed)
    by_hand(model, schedulefree.AdamWScheduleFree, 30).eval()
    torch.optim.swa_utils.update_bn([batch[:, :1] for batch in data()], model)
    model.eval()
    losses = [squared_error(model, batch).item() for batch in data()]
    assert evaluation.metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    for name, value in model.state_dict().items():
        index, _, field = name.partition(".")
        torch.testing.assert_close(training.model.state_dict()[f"{int(index) + 1}.{field}"], value)
    assert training.model[0].seen == 30  # the passes that gathered statistics are not the training's
    assert training.model[2].momentum == 0.1


def test_frozen_batch_norms_stay_as_they_are():
    def loss(model, batch):
        model[1].eval()
        return squared_error(model, batch)

    training = lrs.train(
        free(model=normed, loss=loss, metrics=lambda m, b: {"loss": squared_error(m, b)}), Constant(LR)
    )
    list(training)
    assert training.model[1].running_mean.eq(0).all()
    assert training.model[1].running_var.eq(1).all()


def test_other_optimizers_keep_their_running_statistics():
    training = lrs.train(free(model=normed, optimizer=torch.optim.SGD), Constant(LR))
    list(training)
    model = seeded(normed)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    for batch in itertools.islice(itertools.cycle(data()), 30):
        optimizer.zero_grad()
        squared_error(model, batch).backward()
        optimizer.step()
    torch.testing.assert_close(dict(training.model.state_dict()), dict(model.state_dict()))
