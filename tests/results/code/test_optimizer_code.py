"""The code of an optimizer, run, gives one with the same settings."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from lr_search import optimizers
from lr_search.optimizers.call import optimizer_call
from lr_search.results.code.optimizer_code import optimizer_imports, optimizer_lines

ODD = {
    "sgd": partial(torch.optim.SGD, momentum=0.95, nesterov=True, weight_decay=5e-4, foreach=False),
    "adamw": partial(torch.optim.AdamW, betas=(0.8, 0.97), eps=1e-6, weight_decay=0.0, amsgrad=True, maximize=True),
    "rmsprop": partial(torch.optim.RMSprop, alpha=0.9, momentum=0.5, centered=True, capturable=False),
    "numpy": partial(torch.optim.SGD, momentum=np.float64(0.9), weight_decay=np.float32(0.5)),
    "tensor betas": partial(
        torch.optim.Adam, betas=(torch.tensor(0.5), torch.tensor(0.75)), capturable=True, foreach=False
    ),
    "adafactor": partial(torch.optim.Adafactor, eps=(None, 1e-2), d=2.0),
    "rprop": partial(torch.optim.Rprop, etas=(0.25, 1.5)),
    "lbfgs": partial(torch.optim.LBFGS, max_iter=7, line_search_fn="strong_wolfe"),
}


def optimizer_code(call, lr):
    """The import lines and those that make the optimizer, as a recommendation pastes them."""
    return "\n".join([*optimizer_imports(call), "", *optimizer_lines(call, lr)])


class Mine(torch.optim.SGD):
    """Passes on what it does not know, and keeps one argument to itself."""

    def __init__(self, params, lr=0.1, *rest, secret=3, **others):
        super().__init__(params, lr, momentum=0.9, **others)


class Outer:
    class Inner(torch.optim.SGD):
        pass


def stored(optimizer):
    return json.loads(json.dumps(optimizer_call(optimizer), allow_nan=False))


def made(text, model=None):
    names = {"model": model or nn.Linear(3, 2)}
    exec(text, names)
    return names["optimizer"]


@pytest.mark.parametrize("factory", [*map(optimizers.by_name, optimizers.NAMES), *ODD.values()])
def test_the_same_settings_after_a_round_through_json(factory):
    original = factory(nn.Linear(3, 2).parameters(), lr=0.02)
    again = made(optimizer_code(stored(original), 0.3))
    assert type(again).__qualname__ == type(original).__qualname__
    ours = type(original).__module__.startswith("lr_search.")  # whose source is pasted
    assert (type(again) is type(original)) == (not ours)
    assert again.defaults | {"lr": 0} == original.defaults | {"lr": 0}
    assert again.param_groups[0]["lr"] == 0.3
    for name, value in original.defaults.items():
        assert isinstance(value, tuple) == isinstance(again.defaults[name], tuple), name


def test_only_what_is_not_the_default():
    call = stored(torch.optim.AdamW(nn.Linear(3, 2).parameters(), lr=0.1, weight_decay=0.1, eps=1e-8))
    assert call == {
        "class": "torch.optim.AdamW",
        "module": "torch.optim",
        "settings": {"weight_decay": 0.1},
        "groups": [],
        "momentum": True,
        "modes": False,
        "left_out": [],
    }
    text = optimizer_code(call, 0.001)
    assert text == "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=0.001, weight_decay=0.1)"


def test_a_package_has_its_import_line():
    text = optimizer_code({"class": "prodigyopt.Prodigy", "settings": {"betas": [0.9, 0.99]}, "groups": []}, 1.0)
    assert text.splitlines()[0] == "from prodigyopt import Prodigy"
    assert text.splitlines()[-1] == "optimizer = Prodigy(model.parameters(), lr=1.0, betas=(0.9, 0.99))"


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_momentum_and_modes(name):
    call = stored(optimizers.by_name(name)(nn.Linear(3, 2).parameters(), lr=0.1))
    assert call["momentum"] == (name not in ("adagrad", "adafactor"))
    assert call["modes"] == name.startswith("schedule_free")
    text = optimizer_code(call, 0.1)
    assert ("optimizer.train()" in text) == ("optimizer.eval()" in text) == call["modes"]


def test_several_groups():
    model = nn.Linear(3, 2)
    groups = [
        {"params": [model.weight], "weight_decay": 0.5},
        {"params": [model.bias], "lr": 0.01, "betas": (0.5, 0.9)},
    ]
    call = stored(torch.optim.AdamW(groups, lr=0.1, weight_decay=0.3))
    assert call["settings"] == {"weight_decay": 0.3}
    assert call["groups"] == [
        {"ratio": 1.0, "settings": {"weight_decay": 0.5}},
        {"ratio": pytest.approx(0.1), "settings": {"betas": [0.5, 0.9]}},
    ]


def test_one_group_with_settings_of_its_own():
    groups = [{"params": [nn.Linear(3, 2).weight], "weight_decay": 0.5}]
    assert stored(torch.optim.SGD(groups, lr=0.1))["settings"] == {"weight_decay": 0.5}


def test_one_group_of_a_part_of_the_model_is_of_ones_own():
    model = nn.Linear(3, 2)
    whole, part = (optimizer_call(torch.optim.SGD(each, lr=0.1), model) for each in (model.parameters(), [model.bias]))
    assert (whole["groups"], part["groups"]) == ([], [{"ratio": 1.0, "settings": {}}])


def test_a_groups_setting_that_json_has_no_word_for_is_named():
    model = nn.Linear(3, 2)
    groups = [{"params": [model.weight]}, {"params": [model.bias], "weight_decay": float("inf")}]
    call = stored(torch.optim.SGD(groups, lr=0.1))
    assert call["left_out"] == ["weight_decay of group 2"]
    assert "# set these as you had them: weight_decay of group 2" in optimizer_code(call, 0.1)


def test_what_cannot_be_read_is_named():
    call = stored(Mine(nn.Linear(3, 2).parameters(), lr=0.1, weight_decay=0.5))
    assert (call["class"], call["settings"]) == (f"{__name__}.Mine", {})
    assert {"secret", "weight_decay"} <= set(call["left_out"])
    assert not {"lr", "params", "rest"} & set(call["left_out"])
    assert "# set these as you had them: secret" in optimizer_code(call, 0.1)


def test_values_that_json_has_no_word_for_are_named():
    optimizer = optimizers.by_name("prodigy")(nn.Linear(3, 2).parameters(), lr=1.0, growth_rate=2.0)
    assert stored(optimizer)["settings"] == {"growth_rate": 2.0}  # by default it is inf
    default = optimizers.by_name("prodigy")(nn.Linear(3, 2).parameters(), lr=1.0, growth_rate=float("inf"))
    assert (stored(default)["settings"], stored(default)["left_out"]) == ({}, [])
    half = torch.optim.Adafactor(nn.Linear(3, 2).parameters(), lr=0.1, eps=(None, float("inf")))
    assert (stored(half)["settings"], stored(half)["left_out"]) == ({}, ["eps"])
    infinite = torch.optim.SGD(nn.Linear(3, 2).parameters(), lr=0.1, weight_decay=float("inf"))
    assert (stored(infinite)["settings"], stored(infinite)["left_out"]) == ({}, ["weight_decay"])


def test_a_call_of_only_the_class():
    text = optimizer_code({"class": "schedulefree.SGDScheduleFree", "settings": {}, "groups": []}, 0.1)
    assert "optimizer.eval()" in text
    text = optimizer_code({"class": "__main__.Mine", "settings": {}, "groups": []}, 0.1)
    assert text == "# Mine: your own class, __main__.Mine\n\noptimizer = Mine(model.parameters(), lr=0.1)"


def test_a_tuple_of_one():
    assert "only=(0.5,))" in optimizer_code({"class": "mine.Optimizer", "settings": {"only": [0.5]}, "groups": []}, 0.1)


def test_classes_inside_others():
    class Local(torch.optim.SGD):
        pass

    parameters = list(nn.Linear(3, 2).parameters())
    inner = optimizer_code(stored(Outer.Inner(parameters, lr=0.1, momentum=0.5)), 0.1)
    assert inner == (
        f"from {__name__} import Outer\n\noptimizer = Outer.Inner(model.parameters(), lr=0.1, momentum=0.5)"
    )
    local = optimizer_code(stored(Local(parameters, lr=0.1)), 0.1)
    assert local.startswith("# Local: your own class")
    assert local.endswith("\noptimizer = Local(model.parameters(), lr=0.1)")
