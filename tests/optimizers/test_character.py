"""What kind of optimizer it is: against the formulas of its step under a constant gradient; and what it leaves alone."""

import json
import math

import numpy as np
import pytest
import torch
from torch import optim

import lr_search as lrs
from lr_search.optimizers import character as module
from lr_search.optimizers.character import character

T, LAST = 100, 400  # the steps looked at


def parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(3, 2))]


CHARACTER = ("scaling", "gain", "fade", "cycled")


def found(kind, **settings):
    """How it behaves with the momentum that it has."""
    told = character(kind(parameters(), **({"lr": 0.1} | settings)))
    return {name: value for name, value in told.items() if name != "cycled"}


def close(expected):
    scaling, gain, fade = expected
    return pytest.approx({"scaling": scaling, "gain": gain, "fade": fade}, abs=1e-5)


def slope(at_100, at_last):
    return math.log10(at_last / at_100) / math.log10(LAST / T)


def grown(momentum, step):
    """A momentum's sum of 1 + m + m^2 + ... after that many steps."""
    return (1 - momentum**step) / (1 - momentum)


def rmsprop(alpha, step):
    """Its step over the LR: the gradient over the root of the running mean of its square, which begins at 0."""
    return (1 - alpha**step) ** -0.5


def averaged(gradient, step):
    """ASGD's step (Bottou) over the gradient, by its recursion: decay lambd, LR falling with the power alpha."""
    lambd, alpha, eta, weight, change = 1e-4, 0.75, 1.0, 0.0, 0.0
    for passed in range(1, step + 1):
        change = eta * lambd * weight + eta * gradient
        weight, eta = weight - change, (1 + lambd * passed) ** -alpha
    return change / gradient


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgds_momentum_multiplies_its_step(momentum, nesterov):
    if nesterov and not momentum:
        expected = dict.fromkeys((T, LAST), 1.0)
        nesterov = False  # torch wants a momentum with it
    else:
        sums = {step: grown(momentum, step) for step in (T, LAST)}
        expected = {step: 1 + momentum * total if nesterov else total for step, total in sums.items()}
    assert found(optim.SGD, momentum=momentum, nesterov=nesterov) == close(
        (1.0, math.log10(expected[T]), slope(expected[T], expected[LAST]))
    )


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_a_settled_momentum_m_gains_minus_log10_of_1_less_m(momentum):
    assert found(optim.SGD, momentum=momentum)["gain"] == pytest.approx(-math.log10(1 - momentum), abs=1e-4)
    assert found(optim.SGD, momentum=momentum, dampening=momentum)["gain"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (optim.Adam, {}),
        (optim.Adam, {"betas": (0.5, 0.9), "amsgrad": True}),
        (optim.AdamW, {"weight_decay": 0.5}),
        (optim.Adamax, {}),
        (optim.SparseAdam, {}),
    ],
)
def test_adam_and_its_like_step_by_the_lr_whatever_the_gradient(kind, settings):
    assert found(kind, **settings) == close((0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("kind", "settings", "decades"),
    [
        (optim.SGD, {}, 1.0),
        (optim.SGD, {"momentum": 0.9}, 0.0),
        (optim.SGD, {"momentum": 0.99}, -math.log10(grown(0.99, T) / grown(0.9, T))),
        (optim.RMSprop, {}, 1.0),
        (optim.Adam, {}, 0.0),
        (optim.Adagrad, {}, 0.0),
    ],
)
def test_a_momentum_of_nine_tenths_makes_its_steps_so_much_larger(kind, settings, decades):
    told = character(kind(parameters(), lr=0.1, **settings))
    assert told["cycled"] == pytest.approx(decades, abs=0.03 if kind is optim.RMSprop else 1e-4)


def test_nadam_and_radam_step_by_the_lr_once_they_have_settled():
    nadam = found(optim.NAdam)
    assert nadam == pytest.approx({"scaling": 0.0, "gain": 0.0, "fade": 0.0}, abs=0.01)

    def rectified(
        step,
    ):  # Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020, arXiv:1908.03265
        most, decay = 2 / (1 - 0.999) - 1, 0.999**step
        length = most - 2 * step * decay / (1 - decay)
        return math.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))

    assert found(optim.RAdam) == close((0.0, math.log10(rectified(T)), slope(rectified(T), rectified(LAST))))


@pytest.mark.parametrize("alpha", [0.9, 0.99])
def test_rmsprop_begins_with_larger_steps(alpha):
    expected = (0.0, math.log10(rmsprop(alpha, T)), slope(rmsprop(alpha, T), rmsprop(alpha, LAST)))
    assert found(optim.RMSprop, alpha=alpha) == close(expected)


def test_adagrads_steps_fade_with_the_root_of_their_number():
    adagrad = found(optim.Adagrad)
    assert adagrad == close((0.0, math.log10(T**-0.5), -0.5))
    assert adagrad["fade"] == pytest.approx(-0.5, abs=0.01)
    slower = found(optim.Adagrad, lr_decay=0.1)

    def step_of(step):
        return step**-0.5 / (1 + 0.1 * (step - 1))

    assert slower == close((0.0, math.log10(step_of(T)), slope(step_of(T), step_of(LAST))))


def test_asgd_is_sgd_whose_lr_fades_a_little():
    steps = [averaged(0.01, step) for step in (T, LAST)]
    assert found(optim.ASGD) == close((1.0, math.log10(steps[0]), slope(*steps)))


def test_lbfgs_and_what_raises_have_no_character():
    class Broken(optim.SGD):
        def step(self, closure=None):
            raise RuntimeError("never")

    class Demanding(optim.SGD):
        def __init__(self, params, lr, model):
            super().__init__(params, lr)

    class Nowhere(optim.SGD):
        def step(self, closure=None):
            return None

    class Lost(optim.SGD):
        def step(self, closure=None):
            self.param_groups[0]["params"][0].data.fill_(math.nan)

    assert found(optim.LBFGS) == {}
    assert [found(kind) for kind in (Broken, Nowhere, Lost)] == [{}, {}, {}]
    assert found(Demanding, model=None) == {}


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.Adagrad, optim.LBFGS])
def test_the_optimizer_itself_is_not_touched(kind, monkeypatch):
    monkeypatch.setattr(module, "_known", {})
    values = parameters()
    optimizer = kind(values, lr=0.1)
    values[0].grad = torch.full((3, 2), 0.5)
    optimizer.step(lambda: torch.tensor(1.0))
    before = [tensor.detach().clone() for tensor in (values[0], values[0].grad)]
    state = repr(optimizer.state_dict())
    character(optimizer)
    assert repr(optimizer.state_dict()) == state
    assert all(torch.equal(one, other) for one, other in zip(before, (values[0], values[0].grad), strict=True))


def test_the_global_generators_are_not_touched(global_rng, seed_all, monkeypatch):
    class Langevin(optim.SGD):
        def step(self, closure=None):
            for parameter in self.param_groups[0]["params"]:
                parameter.grad = parameter.grad * (1 + 0.1 * torch.rand(()) + 0.1 * np.random.rand())  # noqa: NPY002
            return super().step(closure)

    monkeypatch.setattr(module, "_known", {})
    seed_all(3)
    before = global_rng()
    assert set(found(Langevin)) == {"scaling", "gain", "fade"}
    assert global_rng() == before


def test_each_kind_and_setting_is_tried_once(monkeypatch):
    tried = []
    monkeypatch.setattr(module, "_known", {})
    right = module._found
    monkeypatch.setattr(module, "_found", lambda *arguments: tried.append(arguments) or right(*arguments))
    first = found(optim.SGD, momentum=0.9)
    again = found(optim.SGD, momentum=0.9, lr=3.0, weight_decay=0.1)  # neither makes it another kind
    assert first == again
    assert len(tried) == 1
    first["gain"] = 99.0  # the caller's own
    assert found(optim.SGD, momentum=0.9)["gain"] == pytest.approx(1, abs=1e-4)
    assert found(optim.SGD, momentum=0.5)["gain"] < 0.5
    assert found(optim.Adam)["scaling"] == pytest.approx(0, abs=1e-5)
    assert len(tried) == 3


def test_a_schedule_on_it_changes_nothing():
    optimizer = optim.SGD(parameters(), lr=0.1, momentum=0.9)
    expected = character(optimizer)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 2, gamma=1e-3)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    assert character(optimizer) == expected


def test_a_range_test_keeps_it_and_json_takes_it_back(make_workload, tmp_path):
    def adagrad(params, lr):
        return optim.Adagrad(params, lr=lr)

    for optimizer, expected in ((None, (1.0, 1.0, 0.0, 0.0)), (adagrad, (0.0, -1.0, -0.5, 0.0))):
        workload = make_workload(**({} if optimizer is None else {"optimizer": optimizer}))
        curve = workload.range_test(num_steps=20)
        assert curve.optimizer == pytest.approx(dict(zip(CHARACTER, expected, strict=True)), abs=1e-4)
        curve.save(tmp_path / "curve.json")
        assert lrs.LRCurve.load(tmp_path / "curve.json").optimizer == curve.optimizer
        assert json.loads(json.dumps(curve.to_json()))["optimizer"] == curve.optimizer
