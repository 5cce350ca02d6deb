"""Settings as plain values: alike in every process, and told apart to the last entry."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from lr_search.plain import plain_value

LONG = 1000


@pytest.mark.parametrize(
    "container", [list, tuple, lambda values: dict(enumerate(values))], ids=["list", "tuple", "dict"]
)
def test_long_settings_that_differ_in_their_last_entry_alone_are_told_apart(container):
    same, again, other = (plain_value(container([*range(LONG - 1), last])) for last in (1, 1, 2))
    assert same == again != other
    assert len(json.dumps(same)) < 1000


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (partial(max, 1), partial(max, 2)), (max, min), (np.arange(100), np.arange(100) + 1), ({1, 2}, {1, 3}),
        (torch.optim.SGD, torch.optim.Adam), (float("inf"), float("-inf")), ([1, [2]], [1, [3]]),
    ],
)  # fmt: skip
def test_other_settings_are_other_values(one, other):
    assert plain_value(one) == plain_value(one) != plain_value(other)
    json.dumps(plain_value(one), allow_nan=False)


def test_another_process_writes_the_same():
    code = """
import json, random
from functools import partial
from lr_search.plain import plain_value
class Mine:
    def __init__(self): self.words, self.chosen, self.draws = {"b", "a", "c"}, partial(max, key=len), random.Random(0)
Mine.__module__ = "mine"
print(json.dumps(plain_value({"mine": Mine()})))
"""
    command = [sys.executable, "-c", code]
    printed = [
        subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    ]
    assert printed[0] == printed[1]
    assert json.loads(printed[0])["mine"]["words"] == ["a", "b", "c"]
