"""Which optimizers one optimizer can be for several models, and that it then is; in double precision, against one for each model."""

from functools import partial

import numpy as np
import prodigyopt
import pytest
import torch
from torch import nn

from lr_search.fused.linearity import stacks
from lr_search.fused.stack import Stack
from lr_search.fused.support import support_of
from lr_search.fused.updates import Layout, RowUpdate, StackedUpdate
from lr_search.optimizers.lion import Lion
from lr_search.optimizers.muon import MuonAdamW
from lr_search.optimizers.param_groups import set_momentum
from lr_search.schedules import Constant, by_name
from tests.helpers.fused_cases import FEATURES, alone, assert_same, fused, workload
from tests.helpers.unstacked_optimizers import GlobalNorm, Lars, Lookahead, SignOfLR

SHAPES = [(3, 2), (4,), (), (2, 2, 2)]
ROWS, STEPS = 6, 30
ELEMENTWISE = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=0.1),
    "dampening": partial(torch.optim.SGD, momentum=0.8, dampening=0.5),
    "maximize": partial(torch.optim.SGD, momentum=0.9, maximize=True, foreach=False),
    "adam": torch.optim.Adam,
    "adam_settings": partial(torch.optim.Adam, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1, foreach=False),
    "amsgrad": partial(torch.optim.Adam, amsgrad=True),
    "adamw": partial(torch.optim.AdamW, weight_decay=0.1),
    "adamw_amsgrad": partial(torch.optim.AdamW, amsgrad=True),
    "adam_single": partial(torch.optim.Adam, foreach=False),
    "nadam": torch.optim.NAdam,
    "nadam_decay": partial(torch.optim.NAdam, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": torch.optim.RAdam,
    "radam_decay": partial(torch.optim.RAdam, weight_decay=0.1, betas=(0.9, 0.99)),
    "rmsprop": torch.optim.RMSprop,
    "rmsprop_centered": partial(torch.optim.RMSprop, centered=True, momentum=0.9, weight_decay=0.1),
    "adagrad": torch.optim.Adagrad,
    "adagrad_decay": partial(torch.optim.Adagrad, lr_decay=0.1, initial_accumulator_value=0.5, weight_decay=0.1),
    "adadelta": partial(torch.optim.Adadelta, rho=0.8, weight_decay=0.1),
    "adamax": partial(torch.optim.Adamax, weight_decay=0.1),
    "lion": partial(Lion, weight_decay=0.1),
}
NOT_ELEMENTWISE = {
    "asgd": partial(torch.optim.ASGD, lambd=0.1, t0=10),
    "rprop": torch.optim.Rprop,
    "adafactor": torch.optim.Adafactor,
    "muon": torch.optim.Muon,
    "muon_and_adamw": MuonAdamW,
    "norm_of_each_tensor": Lars,
    "norm_of_all": GlobalNorm,
    "every_fifth_step": Lookahead,
    "not_linear": SignOfLR,
}
EVERY_ELEMENTWISE = pytest.mark.parametrize("factory", ELEMENTWISE.values(), ids=ELEMENTWISE)
EVERY_OTHER = pytest.mark.parametrize("factory", NOT_ELEMENTWISE.values(), ids=NOT_ELEMENTWISE)


class Held(nn.Module):
    """Double-precision parameters of several shapes."""

    def __init__(self, shapes=SHAPES):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        self.held = nn.ParameterList([nn.Parameter(each) for each in drawn])

    def groups(self, grouped):
        held = list(self.held)
        return [{"params": held[:2], "lr": 0.1}, {"params": held[2:], "lr": 0.03}] if grouped else held

    def row(self):
        return torch.cat([each.detach().reshape(-1) for each in self.held])


def lr_at(step, row):
    """From 1e-5 to 1, moving by the step."""
    return 10.0 ** (row - 5) * (1 + 0.5 * np.sin(step * (row + 1)))


def momentum_at(step):
    return 0.95 - 0.002 * step


class Compared:
    """An update of a stack's rows next to an optimizer for each model."""

    def __init__(self, factory, kind, *, grouped=False, momentum=False, shapes=SHAPES):
        model = Held(shapes)
        self.stack = Stack(model, list(model.held), ROWS)
        layout = Layout(self.stack, factory(model.groups(grouped), lr=1e-3))
        self.update = kind(self.stack, layout, factory, (0, ROWS))
        self.models = [Held(shapes) for _ in range(ROWS)]
        self.optimizers = [factory(each.groups(grouped), lr=1e-3) for each in self.models]
        self.ratios = [1.0, 0.3] if grouped else [1.0]
        self.momentum = momentum_at if momentum else lambda step: None
        self.rows = list(range(ROWS))
        self.generator = torch.Generator().manual_seed(5)

    def walk(self, steps):
        for step in steps:
            gradients = torch.randn(ROWS, self.models[0].row().numel(), generator=self.generator, dtype=torch.float64)
            gradients *= torch.logspace(-2, 2, ROWS, dtype=torch.float64)[:, None]
            for row in range(ROWS):
                self._alone(row, gradients[row], lr_at(step, row), self.momentum(step))
            self.stack.gradients.copy_(gradients[self.rows])
            lrs = [lr_at(step, row) for row in self.rows]
            vector = torch.tensor(lrs, dtype=torch.float64)[:, None]
            self.update.step(vector, lrs, [self.momentum(step)] * len(lrs))

    def _alone(self, row, gradient, lr, momentum):
        model, optimizer = self.models[row], self.optimizers[row]
        for parameter, part in zip(model.held, gradient.split([p.numel() for p in model.held]), strict=True):
            parameter.grad = part.view(parameter.shape).clone()
        for group, ratio in zip(optimizer.param_groups, self.ratios, strict=True):
            group["lr"] = lr * ratio
        if momentum is not None:
            set_momentum(optimizer, momentum)
        optimizer.step()

    def keep(self, rows):
        self.stack.keep(rows)
        self.update.keep(rows, 0)
        self.rows = [self.rows[row] for row in rows]

    def assert_same(self):
        expected = torch.stack([self.models[row].row() for row in self.rows])
        way = (expected - Held([p.shape for p in self.models[0].held]).row()).abs().amax(dim=1, keepdim=True)
        assert float(way.min()) > 0
        assert float(((self.stack.weights - expected).abs() / way).max()) < 1e-6


@EVERY_ELEMENTWISE
def test_an_elementwise_optimizer_steps_all_models_at_once(factory):
    assert stacks(factory, factory(Held().groups(False), lr=1e-3))
    compared = Compared(factory, StackedUpdate)
    compared.walk(range(STEPS))
    compared.assert_same()


@EVERY_ELEMENTWISE
def test_it_keeps_the_groups_ratios_the_momentum_and_the_rows_that_are_left(factory):
    assert stacks(factory, factory(Held().groups(True), lr=1e-3))
    compared = Compared(factory, StackedUpdate, grouped=True, momentum=True)
    compared.walk(range(12))
    compared.keep([0, 2, 3, 5])
    compared.walk(range(12, 20))
    compared.keep([1, 2])
    compared.walk(range(20, STEPS))
    assert compared.rows == [2, 3]
    compared.assert_same()


def test_a_fused_kernel_is_right_either_way():
    # on a CPU it steps a tensor that does not fill its memory wrongly, and a group's columns do not
    factory = partial(torch.optim.Adam, fused=True)
    for grouped in (False, True):
        stacked = stacks(factory, factory(Held().groups(grouped), lr=1e-3))
        compared = Compared(factory, StackedUpdate if stacked else RowUpdate, grouped=grouped, momentum=True)
        compared.walk(range(STEPS))
        compared.assert_same()


@EVERY_OTHER
def test_another_optimizer_is_one_for_each_model(factory):
    shapes = [(3, 2), (4, 5)] if factory is torch.optim.Muon else SHAPES
    assert not stacks(factory, factory(Held(shapes).groups(False), lr=1e-3))
    compared = Compared(factory, RowUpdate, momentum=True, shapes=shapes)
    compared.walk(range(12))
    compared.keep([0, 2, 3, 5])
    compared.walk(range(12, STEPS))
    compared.assert_same()


def matrices():
    return nn.Sequential(nn.Linear(FEATURES, 12, bias=False), nn.Tanh(), nn.Linear(12, 4, bias=False))


@EVERY_OTHER
def test_another_optimizer_trains_as_alone(factory):
    work = workload(matrices, optimizer=factory, num_steps=30)
    assert not support_of(work, 0).stacks
    schedules = [by_name("constant", lr=1e-3, num_steps=30), by_name("sgdr", lr=1e-2, num_steps=30)]
    by_themselves = alone(work, schedules)
    assert_same(fused(work, schedules), by_themselves)
    assert by_themselves[1].evaluations[-1].metrics["loss"] < by_themselves[1].evaluations[0].metrics["loss"]


def test_one_that_looks_at_all_its_groups_together_trains_as_alone():
    work = workload(optimizer=prodigyopt.Prodigy)
    assert not support_of(work, 0).stacks
    schedules = [Constant(lr) for lr in (0.5, 1.0, 2.0)]
    assert_same(fused(work, schedules), alone(work, schedules))


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, partial(torch.optim.SGD, momentum=0.5)])
def test_each_trial_has_its_own_momentum(optimizer):
    work = workload(optimizer=optimizer)
    schedules = [
        by_name("one_cycle", lr=0.02, num_steps=50),
        Constant(0.02),
        by_name("one_cycle", lr=0.01, num_steps=50),
    ]
    schedules.append(by_name("one_cycle", lr=0.02, num_steps=50, max_momentum=0.5, base_momentum=0.1))
    together = fused(work, schedules)
    assert_same(together, alone(work, schedules))
    assert len({run.evaluations[-1].train_loss for run in together}) == 4


def test_several_optimizers_in_one_training():
    made = [workload(optimizer=each) for each in (torch.optim.Adam, torch.optim.ASGD, torch.optim.SGD)]
    works = [made[0], made[1], made[2], made[1], made[0]]
    schedules = [Constant(lr) for lr in (0.01, 0.02, 0.05, 0.1, 0.003)]
    assert_same(fused(works, schedules), alone(works, schedules))


def test_the_own_global_rng_is_left_alone(global_rng):
    before = global_rng()
    stacks(torch.optim.Adam, torch.optim.Adam(Held().groups(False), lr=1e-3))
    assert global_rng() == before


def test_an_optimizer_that_takes_no_such_parameters_is_not_stacked():
    def picky(params, lr):
        held = list(params)
        if held[0].dtype is torch.float64:
            raise ValueError("single precision only")
        return torch.optim.SGD(held, lr=lr)

    assert not stacks(picky, picky([nn.Parameter(torch.zeros(2))], lr=1e-3))


def test_lrs_of_zero_move_nothing():
    compared = Compared(torch.optim.SGD, StackedUpdate)
    before = compared.stack.weights.clone()
    compared.stack.gradients.fill_(1.0)
    compared.update.step(torch.zeros(ROWS, 1, dtype=torch.float64), [0.0] * ROWS, [None] * ROWS)
    assert torch.equal(compared.stack.weights, before)
