"""Command lines that are wrong in one word."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

_TARGET = "fuzz_target:workload"
_TARGET_SOURCE = """
from functools import partial
import torch

def batches():
    return torch.linspace(-1, 1, 16).reshape(4, 2, 2)

def loss(model, batch):
    return model(batch).square().mean()

def workload():
    import lr_search
    return lr_search.Workload(model=partial(torch.nn.Linear, 2, 1), optimizer=torch.optim.SGD, loss=loss, train_data=batches,
                              valid_data=batches, num_steps=20, eval_every=10)

def raises():
    raise KeyError("in the user's code")

def stops():
    raise SystemExit(0)

number = 3
"""
_MODULES = {
    "fuzz_exits": "import sys\nsys.exit(0)\n",
    "fuzz_syntax": "def f(:\n",
    "fuzz_raises": "raise ValueError('at import')\n",
    "fuzz_base": "class Odd(BaseException): pass\nraise Odd('at import')\n",
}
_TARGETS = (
    "", "x", ":", "fuzz_target", "fuzz_target:", "fuzz_target:nothing", "fuzz_target:number", "fuzz_target:raises", "fuzz_target:stops",
    "no_module:workload", ":workload", "a:b:c", "fuzz_target:workload:x", "fuzz_exits:workload", "fuzz_syntax:workload",
    "fuzz_raises:workload", "fuzz_base:workload", "../x:workload", "\x1b[31m:x", "fuzz_target:workload.model", "long" * 500 + ":w",
)  # fmt: skip
_NUMBERS = (
    "x",
    "",
    "nan",
    "-1",
    "1e",
    "0x",
    "1,5",
    "--",
    "None",
    "1_0_",
    "inf",
    "-inf",
    "1e300",
    "99999999999999999999",
)
_TEXTS = (
    "",
    "nonsense",
    "x" * 3000,
    "\x1b[31m",
    ",",
    "=",
    "grid,grid",
    "a=b=c",
    "grid=",
    "=0.1",
    "mine=x",
    "mine=-1",
    "mine=nan",
)
_OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "compare": {
        "--strategies": _TEXTS, "--schedules": ("", *_TEXTS[1:]), "--optimizers": _TEXTS,
        "--lr-range": (*_NUMBERS, "1", "1,2,3", "2,1", "0,1", "-1,1", "nan,1", "1,inf", "a,b"),
        "--range-test-steps": (*_NUMBERS, "0", "1.5"), "--budget": (*_NUMBERS, "0", "0.5"), "--seeds": (*_NUMBERS, "0", "1.5", "1000000000"),
        "--seed": ("x", "", "nan", "-1", "1e", "1.5", "99999999999999999999999"), "--pruner": ("", "nonsense", "x" * 3000, "\x1b[31m"),
        "--confirm": ("x", "", "nan", "-1", "1.5", "1000000000"), "--snapshots": ("x", "", "-1", "1", "1.5", "1000000000"),
        "--executor": ("", "nonsense", "x" * 3000), "--executor-options": ("x", "=", "a=1", "width=0", "parallel_per_study=0",
        "parallel_per_study=x", "parallel_per_study=1.5", "a=1,a=2", "=1"), "--storage": ("", "nonsense", "sqlite://", "sqlite:///no/such/a.db",
        "nosuch://a/b", "sqlite:///.", "postgresql://u:secretpw@host:notaport/x", "mysql://x"), "--name": ("", " ", "\x1b[31m", "a\nb"),
        "--out": ("fuzz_target.py", "fuzz_target.py/x", "/proc/x"), "--no-such-option": ("x",), "--fresh": ("x",),
    },
    "range-test": {
        "--num-steps": (*_NUMBERS, "0", "1", "1.5"), "--start-lr": (*_NUMBERS, "0"), "--end-lr": (*_NUMBERS[:-2], "0"),
        "--seed": ("x", "", "-1", "1.5"), "--seeds": ("x", "", "-1", "0", "1.5", "1000000000"), "--rule": ("", "nonsense", "x" * 3000),
        "--ramp": ("", "nonsense"), "--plot": ("fuzz_target.py/x", "a.nonsense"), "--schedule": ("", "nonsense"), "--no-such-option": ("x",),
    },
    "report": {"--out": ("fuzz_target.py", "fuzz_target.py/x"), "--no-such-option": ("x",)},
    "demo": {"--budget": (*_NUMBERS, "0"), "--seeds": (*_NUMBERS, "0", "1000000000"), "--no-such-option": ("x",)},
    "list": {"--no-such-option": ("x",)},
}  # fmt: skip
_BASES = {
    "compare": [_TARGET, "--budget", "2", "--seeds", "1", "--storage", "sqlite:///fuzz.db", "--out", "fuzz_report"],
    "range-test": [_TARGET], "report": ["sqlite:///nothing.db", "nothing"], "demo": ["--dry-run"], "list": [],
}  # fmt: skip
_OTHERS = (
    ["nonsense"], [""], ["--nonsense"], ["compare"], ["range-test"], ["report"], ["report", "x"], ["report", "sqlite:///no.db"],
    ["report", "x", "y", "z"], ["list", "x"], ["demo", "x"], ["compare", _TARGET, "x"], ["range-test", _TARGET, "x"],
    ["compare", "--budget", "2"], ["report", "sqlite:///fuzz_target.py", "x"], ["report", "fuzz_target.py", "x"],
)  # fmt: skip


def every_line() -> list[list[str]]:
    """All there are, each wrong in one word."""
    lines = [list(line) for line in _OTHERS]
    lines += [[command, target] for command in ("compare", "range-test") for target in _TARGETS]
    for command, options in _OPTIONS.items():
        for option, values in options.items():
            lines += [[command, *_BASES[command], option, value] for value in values]
            lines += [[command, *_BASES[command], f"{option}={value}"] for value in values]
            lines.append([command, *_BASES[command], option])
    return lines


def wrong_lines(count: int, seed: int) -> Iterator[list[str]]:
    """That many of them, drawn; writes the modules that they name into the working directory."""
    Path("fuzz_target.py").write_text(_TARGET_SOURCE)
    for name, source in _MODULES.items():
        Path(f"{name}.py").write_text(source)
    every = every_line()
    yield from random.Random(seed).sample(every, min(count, len(every)))
