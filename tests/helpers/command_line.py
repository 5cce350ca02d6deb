"""What the tests of the command line train: modules in files, as users have them."""

import textwrap

GOOD = """
import time
from dataclasses import replace
import torch
from torch import nn
import lr_search as lrs

_inputs = torch.linspace(-1, 1, 64).reshape(-1, 1)
_data = (_inputs, 3 * _inputs[:, 0])
good = lrs.regression(
    model=lambda: nn.Linear(1, 1), optimizer=torch.optim.SGD, train=_data, valid=_data,
    batch_size=16, num_steps=20, eval_every=5, device="cpu",
)
"""
SMALL = ("--strategies", "grid", "--schedules", "constant", "--lr-range", "1e-5,10", "--budget", "2", "--seeds", "1")


def write(folder, code="", name="work"):
    """A module in `folder`: `good`, a regression of 20 steps, and the code given. Returns: its name."""
    unique = f"{name}_{folder.name}".replace("-", "_")  # so that no test finds another's module
    (folder / f"{unique}.py").write_text(GOOD + textwrap.dedent(code))
    return unique
