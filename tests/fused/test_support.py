"""What a workload is found to be before anything is trained, and the words for what cannot be fused."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import WorkloadError
from lr_search.fused.support import support_of
from tests.helpers.fused_cases import (
    CASES,
    CLASSES,
    EVERY_CASE,
    FEATURES,
    convolutions,
    cross_entropy,
    dropouts,
    mlp,
    workload,
)


def reason(model=mlp, **changes):
    found = support_of(workload(model, **changes), 0)
    assert (found.trained, found.stacks, found.metrics) == ((), False, False)
    return found.reason


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, CLASSES)

    def forward(self, inputs):
        return self.head(self.rnn(inputs.unflatten(1, (4, 4)))[0][:, -1])


class Branching(nn.Sequential):
    def forward(self, inputs):
        outputs = super().forward(inputs)
        return outputs if outputs.sum() > 0 else 2 * outputs


class Buffered(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self, count):
        super().__init__()
        self.net, self.count = mlp(), count
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs):
        self.count(self)
        return self.net(inputs) * (1 + 0 * self.calls)


def replaced(model):
    model.calls = model.calls + 1


def written(model):
    model.calls += 1


def test_what_vmap_cannot_do_is_named_with_the_module():
    recurrent = reason(Recurrent)
    assert recurrent.startswith("a model and a loss that torch.func.vmap can batch, but got ")
    assert " in rnn (LSTM): " in recurrent
    branching = reason(lambda: nn.Sequential(Branching(nn.Linear(FEATURES, CLASSES)), nn.ReLU()))
    assert " in 0 (Branching): " in branching
    assert "data-dependent control flow" in branching
    assert " in 2 (BatchNorm2d): " in reason(convolutions(lambda: nn.BatchNorm2d(4, momentum=None)))


def test_what_vmap_cannot_do_in_the_loss_is_named_too():
    def skipping(model, batch):
        loss = cross_entropy(model, batch)
        return loss * 2 if loss.item() > 1 else loss

    assert " in the loss: " in reason(loss=skipping)


def test_a_closure_optimizer():
    assert "needs no closure, but got LBFGS" in reason(optimizer=torch.optim.LBFGS)


class Averaging(torch.optim.SGD):
    def train(self): ...

    def eval(self): ...


def test_an_optimizer_with_two_modes():
    assert "steps on the weights that are judged, but got Averaging" in reason(optimizer=Averaging)


class Counting:
    """A loss that is no function: it grows with every call."""

    calls = 0

    def __call__(self, model, batch):
        self.calls += 1
        return cross_entropy(model, batch) * self.calls


class Drawing:
    """A loss that draws from a generator of its own."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, model, batch):
        return cross_entropy(model, batch) * torch.rand((), generator=self.generator)


@pytest.mark.parametrize("loss", [Counting(), Drawing()])
def test_a_loss_that_is_no_pure_function(loss):
    assert "a pure function of (model, batch), which gives the same when it is called again, but " in reason(loss=loss)


class Remembering(nn.Module):
    """Keeps its weights where they are not found as well."""

    def __init__(self, forward):
        super().__init__()
        self.net, self.by = nn.Linear(FEATURES, CLASSES), forward
        self.held = [self.net.weight]

    def forward(self, inputs):
        return self.by(self, inputs)


def partly(model, inputs):
    return nn.functional.linear(inputs, model.held[0]) + model.net(inputs)


def wholly(model, inputs):
    return nn.functional.linear(inputs, model.held[0]) + model.net.bias


@pytest.mark.parametrize("forward", [partly, wholly])
def test_weights_that_are_reached_past_the_model(forward):
    assert "a pure function of (model, batch) and of nothing else, but " in reason(partial(Remembering, forward))


def test_a_loss_of_another_model():
    other = mlp()
    assert "its loss moves, but got none" in reason(loss=lambda model, batch: cross_entropy(other, batch))


def test_buffers_that_are_replaced():
    assert "buffers that are written to in place" in reason(partial(Buffered, replaced))
    assert support_of(workload(partial(Buffered, written)), 0).reason == ""


def test_lazy_modules():
    """Their shapes are known by then."""
    model = lambda: nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 4))  # noqa: E731
    assert support_of(workload(model), 0).reason == ""


class Spread(nn.Linear):
    """Keeps a buffer on another device, wherever it is moved to."""

    def __init__(self):
        super().__init__(FEATURES, CLASSES)
        self.register_buffer("elsewhere", torch.zeros(2, device="meta"))

    def _apply(self, function, recurse=True):
        return self


def test_several_devices():
    assert reason(Spread) == "a model on one device, but got one on cpu and meta"


def test_several_dtypes():
    class Both(nn.Sequential):
        def forward(self, inputs):
            return self[1](self[0](inputs).double())

    both = lambda: Both(nn.Linear(FEATURES, 8), nn.Linear(8, CLASSES).double())  # noqa: E731
    assert reason(both) == "weights of one dtype, but got torch.float32 and torch.float64"


def test_sparse_gradients():
    class Sparse(nn.Sequential):
        def forward(self, inputs):
            return super().forward((inputs > 0).long())

    assert reason(lambda: Sparse(nn.Embedding(2, 4, sparse=True), nn.Flatten(), nn.Linear(64, CLASSES))) == (
        "dense gradients, but got sparse ones of 0"
    )


def test_fp16():
    assert "precision fp32 or bf16, but got fp16" in reason(precision="fp16")


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": lambda model, batch: 1.0},
        {"loss": lambda model, batch: model(batch[0]), "metrics": lambda model, batch: {"loss": 0.0}},
        {"loss": lambda model, batch: cross_entropy(model, batch).detach()},
        {"model": lambda: "mlp"},
        {"model": nn.ReLU},
        {"optimizer": lambda params, lr: "sgd"},
        {"train_data": list},
        {"metrics": lambda model, batch: {"loss": model(batch[0])}},
    ],
)
def test_what_cannot_be_trained_at_all_is_told_in_the_same_words(changes):
    work = workload(**changes)
    with pytest.raises(WorkloadError) as expected:
        list(lrs.train(work, lrs.schedules.Constant(0.1)))
    with pytest.raises(WorkloadError) as got:
        support_of(work, 0)
    assert str(got.value) == str(expected.value)


@EVERY_CASE
def test_what_can_be_fused_has_no_reason(case):
    found = support_of(case.work, 0)
    assert (found.reason, found.stacks, found.metrics) == ("", True, True)
    weights = sum(parameter.numel() for parameter in case.work.model().parameters() if parameter.requires_grad)
    assert found.row_bytes >= 4 * weights
    assert found.draws is (case in (CASES["dropout"], CASES["encoder_dropout"]))


def test_draws_are_of_a_training_pass_alone():
    assert support_of(workload(dropouts), 0).draws
    assert not support_of(workload(lambda: nn.Sequential(mlp(), nn.Dropout(0.0))), 0).draws


def test_wider_activations_take_more_memory():
    rows = [[(x.repeat(n, 1), y.repeat(n)) for x, y in workload().train_data()] for n in (1, 8)]
    small, large = (support_of(workload(train_data=lambda each=each: each), 0).row_bytes for each in rows)
    assert large > 2 * small


def test_it_leaves_the_global_random_numbers_alone(global_rng):
    before = global_rng()
    for case in (CASES["encoder_dropout"].work, workload(Recurrent), replace(CASES["mlp"].work, loss=Counting())):
        support_of(case, 3)
        assert global_rng() == before
