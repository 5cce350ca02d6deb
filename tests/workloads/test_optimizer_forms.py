"""The forms of a workload's optimizer and loss: made of the parameters or of the model, one or several."""

import functools
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from lr_search.optimizers.param_groups import group_ratios
from lr_search.workloads.optimizer_forms import takes_model
from tests.helpers.shapes import GAN, RATIO, Tokens, configured, gan_optimizers, gan_workload, tokens_workload

SGD = torch.optim.SGD


class Mine(torch.optim.SGD):
    def __init__(self, held, lr):
        super().__init__(held, lr)


def keyword_only(params, *, lr):
    return SGD(params, lr)


def decayed(net, decay, lr):
    return torch.optim.AdamW(net.parameters(), lr, weight_decay=decay)


@pytest.mark.parametrize(
    ("function", "of_model"),
    [
        (SGD, False),
        (functools.partial(SGD, momentum=0.9), False),
        (lambda params, lr: SGD(params, lr), False),
        (lambda parameters, lr: SGD(parameters, lr), False),
        (lambda params, lr=0.1: SGD(params, lr), False),
        (lambda params, **settings: SGD(params, **settings), False),
        (lambda p, lr: SGD(p, lr), False),
        (lambda model_params, lr: SGD(model_params, lr), False),
        (keyword_only, False),
        (Mine, False),  # a class of optimizers takes parameters, whatever it calls them
        (configured, True),
        (lambda net, learning_rate: SGD(net.parameters(), learning_rate), True),
        (functools.partial(decayed, decay=0.1), True),
    ],
)
def test_the_form_is_told_by_the_first_of_two_required_arguments(function, of_model):
    assert takes_model(function) is of_model
    model, made = tokens_workload(optimizer=function).build()
    assert {id(each) for group in made.param_groups for each in group["params"]} == set(map(id, model.parameters()))


def test_an_optimizer_of_the_model_is_given_the_module_and_the_lr():
    model, optimizer = tokens_workload().build()
    assert isinstance(model, Tokens)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


@pytest.mark.parametrize(
    "optimizer",
    [
        gan_optimizers,
        [
            lambda model, lr: torch.optim.Adam(model.discriminator.parameters(), lr),
            lambda model, lr: SGD(model.generator.parameters(), RATIO * lr),
        ],
    ],
    ids=["a function of two", "two functions"],
)
def test_several_optimizers_keep_the_ratios_of_their_lrs(optimizer):
    model, optimizers = gan_workload(optimizer=optimizer).build()
    assert [type(each) for each in optimizers] == [torch.optim.Adam, SGD]
    assert group_ratios(optimizers) == pytest.approx([1.0, RATIO])
    held = [[*each.param_groups[0]["params"]] for each in optimizers]
    assert held == [[*model.discriminator.parameters()], [*model.generator.parameters()]]


def test_the_default_metric_is_the_sum_of_the_losses():
    def first(model, batch):
        return model.discriminator(batch).square().mean()

    def second(model, batch):
        return model.generator(batch).square().mean()

    workload = gan_workload(loss=[first, second])
    training = lrs.train(workload, lrs.schedules.Constant(0.01))
    told = next(training).metrics["loss"]
    batches = torch.stack(workload.valid_data())  # equal in size
    summed = training.model.discriminator(batches).square().mean() + training.model.generator(batches).square().mean()
    assert told == pytest.approx(summed.item(), rel=1e-5)


def test_what_was_made_of_the_forms_stays_when_something_else_is_replaced():
    workload = gan_workload()
    again = replace(workload, num_steps=7)
    assert (again.optimizer, again.loss) == (workload.optimizer, workload.loss)
    assert str(workload).startswith("Workload: GAN by gan_optimizers, loss discriminator_loss and generator_loss")


def of_all(model, lr):
    return SGD(model.parameters(), lr)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": []}, "optimizer must be a function, or a list of at least one, but got []"),
        ({"loss": []}, "loss must be a function, or a list of at least one, but got []"),
        (
            {"optimizer": lrs.LRCurve},
            "optimizer must be a function of (params, lr=...), but got LRCurve, which takes (lr",
        ),
        ({"optimizer": [SGD, SGD]}, "Several optimizers must each be made of the model, by a function of (model, lr)"),
        (
            {"param_groups": lambda model: model.parameters()},
            "param_groups must be None where the optimizer is made of the",
        ),
        (
            {"optimizer": lambda: 0},
            "optimizer must be a function of (params, lr=...), but got <lambda>, which takes ().",
        ),
        ({"optimizer": lambda a, b, c: 0}, "optimizer must be a function of (params, lr=...), but got <lambda>"),
        (
            {"loss": [lambda model, batch: 0, lambda batch: 0]},
            "loss must be a function of (model, batch), but got <lambda>",
        ),
        ({"loss": [nn.CrossEntropyLoss, of_all]}, "loss must be a loss, but got the class CrossEntropyLoss"),
        (
            {"optimizer": ["adam", "sgd"]},
            "optimizer must be a function or a sequence of functions, but got ['adam', 'sgd']",
        ),
    ],
)
def test_wrong_forms_are_refused_at_once(changes, message):
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        gan_workload(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": lambda model, lr: []}, "must return a torch.optim.Optimizer, or a list of them, but got an empty list."),
        ({"optimizer": lambda model, lr: [of_all(model, lr), "sgd"]}, "or a list of them, but got SGD, str."),
        ({"optimizer": of_all}, "loss must be one function, or one for each optimizer, but got 2 for 1 optimizer (SGD)."),
        ({"optimizer": SGD}, "loss must be one function, or one for each optimizer, but got 2 for 1 optimizer (SGD)."),
        ({"optimizer": lambda q, lr: SGD(q, lr)}, "call the first `params` to be given its parameters."),
        ({"optimizer": lambda q, lr: q[0].configured(lr)}, "call the first `params` to be given its parameters."),
        ({"optimizer": lambda model, lr: [of_all(GAN(), lr), of_all(model, lr)]}, "The optimizer's parameters must be the model's"),
    ],
)  # fmt: skip
def test_wrong_optimizers_are_refused_when_they_are_made(changes, message):
    with pytest.raises(WorkloadError, match=re.escape(message)):
        gan_workload(**changes).build()


def test_one_loss_moves_several_optimizers_at_once():
    """A step of two SGDs on one loss is a step of one that has two groups."""

    def apart(model, lr):
        return [
            SGD(model.embedding.parameters(), lr),
            SGD([*model.norm.parameters(), *model.head.parameters()], 3 * lr),
        ]

    def together(model, lr):
        others = [*model.norm.parameters(), *model.head.parameters()]
        return SGD([{"params": model.embedding.parameters()}, {"params": others, "lr": 3 * lr}], lr)

    ends = []
    for optimizer in (apart, together):
        training = lrs.train(tokens_workload(optimizer=optimizer), lrs.schedules.Constant(0.1))
        ends.append([each.metrics["loss"] for each in training])
    assert ends[0] == ends[1]
    assert ends[0][-1] < ends[0][0]
