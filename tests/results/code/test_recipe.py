"""The whole of the lines to paste: they parse, run, and train as the schedule says."""

import ast

import numpy as np
import pytest
import torch
from torch import nn

from lr_search import optimizers
from lr_search.optimizers.call import optimizer_call
from lr_search.results.code.recipe import recipe
from lr_search.schedules import by_name
from tests.helpers.marks import usually
from tests.helpers.schedule_cases import Harmonic

NAMES = (
    "constant", "step", "exponential", "polynomial", "linear", "cosine", "inverse_sqrt", "wsd", "triangular",
    "triangular2", "exp_range", "sgdr", "one_cycle",
)  # fmt: skip


def call_of(name):
    return optimizer_call(optimizers.by_name(name)(nn.Linear(3, 2).parameters(), lr=1))


def trained(text, num_steps, **names):
    """Exec the recipe, and take the steps as its comment shows them: the LRs (steps,)."""
    ast.parse(text)
    names["model"] = nn.Linear(3, 2)
    exec(text, names)
    optimizer, lrs = names["optimizer"], []
    if hasattr(optimizer, "train"):
        optimizer.train()
    for _ in range(num_steps):
        lrs.append(optimizer.param_groups[0]["lr"])
        names["model"](torch.ones(4, 3)).square().mean().backward()
        optimizer.step()
        if "scheduler" in names:
            names["scheduler"].step()
        optimizer.zero_grad()
    return lrs


@pytest.mark.parametrize("optimizer", usually(["sgd", "adamw"], optimizers.NAMES))
def test_every_schedule_under_every_optimizer(optimizer):
    call = call_of(optimizer)
    for name in NAMES:
        schedule = by_name(name, 0.02, 40)
        text = recipe(call, schedule, 0.02, 40)
        assert "lr_search" not in text
        assert ("scheduler.step()  # after each optimizer step" in text) == (name != "constant")
        np.testing.assert_allclose(trained(text, 40), schedule(np.arange(40)), rtol=1e-9, atol=1e-14)


def test_what_it_looks_like():
    text = recipe(call_of("sgd"), by_name("wsd", 0.1, 100), 0.1, 100)
    assert text == (
        "import torch\n"
        "from torch.optim.lr_scheduler import LambdaLR\n"
        "\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)\n"
        "\n"
        "\n"
        "def factor(step):  # the LR at each step, over the optimizer's\n"
        "    if step < 5:\n"
        "        return step / 5\n"
        "    step -= 5\n"
        "    done = min(1.0, max(0.0, (step - 76) / 19))  # share of the decay\n"
        "    return 1.0 - done**0.5\n"
        "\n"
        "\n"
        "scheduler = LambdaLR(optimizer, factor)\n"
        "\n"
        "# for batch in batches:  # 100 steps\n"
        "#     loss_of(model, batch).backward()\n"
        "#     optimizer.step()\n"
        "#     scheduler.step()  # after each optimizer step, not after each epoch\n"
        "#     optimizer.zero_grad()\n"
    )


def test_imports_come_first():
    text = recipe(call_of("prodigy"), by_name("sgdr", 1.0, 100), 1.0, 100)
    assert text.splitlines()[:3] == [
        "import math",
        "from prodigyopt import Prodigy",
        "from torch.optim.lr_scheduler import LambdaLR",
    ]


@pytest.mark.parametrize(("given", "words"), [(None, "your own function"), (Harmonic(0.1), "torch has no scheduler")])
def test_a_schedule_of_the_users_own(given, words):
    text = recipe(call_of("sgd"), given, 0.1, 20)
    assert words in text
    assert trained(text, 20, schedule=Harmonic(0.1)) == Harmonic(0.1)(np.arange(20)).tolist()
