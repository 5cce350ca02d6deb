"""What `house_proof.py` runs under the old code and under the present one: `python house_proof_driver.py FOLDER PART...`.

Each PART writes what it found to FOLDER/PART.json: floats as `float.hex`, so that not a bit is lost. It uses public names
alone (`lr_search.__all__`, the methods of what they make, entry points, the command line): both sides run this very file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import lr_search as lrs

GROUPS = ("strategies", "schedules", "executors")
OPTIMIZERS = {"momentum": partial(torch.optim.SGD, momentum=0.9), "adam": torch.optim.Adam}
SEARCH: dict[str, Any] = {
    "strategies": ["grid", "random", "range_test"], "schedules": ["constant", "triangular2", "sgdr"],
    "optimizers": OPTIMIZERS, "seeds": 2, "budget": 3, "range_test": {"num_steps": 25},
}  # fmt: skip
KEPT = {"plain": {}, "pruned": {"pruner": "auto"}, "confirmed": {"confirm": 2, "strategies": ["random", "range_test"]}}
SHORT: dict[str, Any] = {**SEARCH, "schedules": ["constant", "sgdr"], "optimizers": None}
STEPS_TO_KILL = 1500  # evaluations of the loss, after which the process that began a comparison is killed
NUM_STEPS = 60


def mlp() -> nn.Module:
    """Two layers."""
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


def drawing() -> nn.Module:
    """One with a BatchNorm and a dropout, which draws random numbers."""
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def examples(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (count, 8), and classes (count,) that a random plane tells apart, some of them wrong."""
    draw = torch.Generator().manual_seed(seed)
    planes = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    inputs = torch.randn(count, 8, generator=draw)
    return inputs, (inputs @ planes + torch.randn(count, 3, generator=draw)).argmax(1)


def workload(**settings: Any) -> lrs.Workload:
    """The usual one, with some settings otherwise."""
    usual = {
        "model": mlp, "optimizer": OPTIMIZERS["momentum"], "train": examples(256, 1), "valid": examples(128, 2),
        "test": examples(128, 3), "batch_size": 16, "num_steps": NUM_STEPS, "eval_every": 20, "device": "cpu",
    }  # fmt: skip
    return lrs.classification(**{**usual, **settings})


def hard(**settings: Any) -> lrs.Workload:
    """One with everything: norms, dropout, groups of their own LR, clipped gradients, two batches a step."""
    return workload(model=drawing, param_groups=groups, clip_norm=1.0, accumulate=2, objective="accuracy", **settings)


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """The last layer's LR is twice that of the others."""
    layers = list(model.children())
    first = [parameter for layer in layers[:-1] for parameter in layer.parameters()]
    return [{"params": first, "lr": 0.1}, {"params": list(layers[-1].parameters()), "lr": 0.2}]


class Deadly:
    """A loss that kills its process, which can neither catch nor see it. Args: loss: the true one; left: calls until then."""

    def __init__(self, loss: Any, left: int) -> None:
        self.loss, self.left = loss, left

    def __call__(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """The true loss, or the end of the process."""
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        found: torch.Tensor = self.loss(model, batch)
        return found


def plain(value: Any) -> Any:
    """As what JSON can hold, to the bit."""
    if isinstance(value, pd.DataFrame):
        return {"index": plain(value.index), **{str(name): plain(column) for name, column in value.items()}}
    if isinstance(value, pd.Series | pd.Index):
        known = {"categories": plain(list(value.cat.categories))} if hasattr(value, "cat") else {}
        return {"type": str(value.dtype), **known, "values": [plain(each) for each in value.tolist()]}
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return {"type": str(value.dtype), "shape": list(value.shape), "values": plain(value.tolist())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def said(call: Callable[[], Any]) -> tuple[Any, str]:
    """What a call returns, and what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        found = call()
    return found, printed.getvalue()


def public() -> dict[str, Any]:
    """Names, arguments and their defaults; entry points; what wrong use is told."""
    found: dict[str, Any] = {"__all__": list(lrs.__all__)}
    for name in lrs.__all__:
        each = getattr(lrs, name)
        found[name] = _arguments(each) if callable(each) else list(getattr(each, "__all__", ()))
    for group in GROUPS:
        points = [each for each in entry_points(group=f"lr_search.{group}") if each.name != "ray"]
        found[group] = {each.name: getattr(each.load(), "__name__", "") for each in points}
    wrong = {
        "name": lambda: lrs.schedules.by_name("sgdrr", 0.1, 10), "lr": lambda: lrs.schedules.by_name("sgdr", -1.0, 10),
        "budget": lambda: lrs.compare(workload(), budget=-1, storage=None), "rule": lambda: curve_of(workload(), {}).suggest("best"),
        "strategy": lambda: lrs.compare(workload(), strategies=["gird"], storage=None),
        "optimizer": lambda: lrs.compare(workload(), optimizers=["adm"], storage=None),
        "workload": lambda: lrs.compare(mlp, storage=None),  # type: ignore[arg-type]
    }  # fmt: skip
    found["errors"] = {name: _error(call) for name, call in wrong.items()}
    return found


def _arguments(each: Callable[..., Any]) -> list[str]:
    return [f"{p.kind.name} {p.name} {p.default!r}" for p in inspect.signature(each).parameters.values()]


def _tried(call: Callable[[], Any]) -> Any:
    """What the call returns, or the exception it raises."""
    try:
        return call()
    except lrs.errors.LRSearchError as error:
        return f"{type(error).__name__}: {error}"


def _error(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def curve_of(work: lrs.Workload, settings: Mapping[str, Any]) -> lrs.LRCurve:
    """A short range test."""
    return work.range_test(**{"num_steps": 60, **settings})


def live_curve() -> tuple[lrs.LRCurve, Any]:
    """A range test of live objects in the middle of a training, and what is left of them."""
    torch.manual_seed(5)
    model = drawing()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    batches = list(zip(*(part.split(16) for part in examples(128, 1)), strict=True))
    loss: Any = lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1])  # noqa: E731
    for batch in batches:
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()
    curve = lrs.range_test(model, optimizer, batches, loss, num_steps=40, valid_data=batches[:2], clip_norm=1.0)
    return curve, [model.state_dict(), str(optimizer.state_dict()), torch.rand(3)]


def curves() -> dict[str, Any]:
    """Range tests of many kinds, and everything that is read off them."""
    optim, found = torch.optim, {}
    tested: dict[str, tuple[lrs.Workload, dict[str, Any]]] = {
        "momentum": (workload(), {"num_steps": 100}), "sgd": (workload(optimizer=optim.SGD), {"start_lr": 1e-4, "seed": 3}),
        "adam": (workload(optimizer=optim.Adam), {}), "adamw": (workload(optimizer=partial(optim.AdamW, weight_decay=0.1)), {}),
        "rmsprop": (workload(optimizer=optim.RMSprop), {}), "adagrad": (workload(optimizer=optim.Adagrad), {}),
        "linear": (workload(), {"ramp": "linear", "start_lr": 0.0, "end_lr": 2.0}), "extend": (workload(), {"end_lr": 1e-2, "extend": True}),
        "extend down": (workload(optimizer=optim.Adam), {"start_lr": 1.0, "extend": True}), "valid": (workload(), {"valid_batches": 2}),
        "hard": (hard(), {"gain_ratio": True}), "no gain": (workload(), {"gain_ratio": False}), "seeds": (workload(), {"seeds": 3}),
        "hard seeds": (hard(optimizer=optim.Adam), {"seeds": [4, 7]}), "lbfgs": (workload(optimizer=optim.LBFGS), {"num_steps": 20}),
    }  # fmt: skip
    made = {name: curve_of(work, settings) for name, (work, settings) in tested.items()}
    made["live"], found["live, what is left"] = live_curve()
    made["pool"] = lrs.LRCurve.pool([made["momentum"], curve_of(workload(), {"num_steps": 100, "seed": 1})])
    made["arrays"] = lrs.LRCurve.from_arrays(np.logspace(-5, 1, 50), 2 - np.linspace(0, 1.2, 50) ** 3)
    return {**found, **{name: _read(curve) for name, curve in made.items()}}


def _read(curve: lrs.LRCurve) -> dict[str, Any]:
    found: dict[str, Any] = {"json": curve.to_json(), "frame": curve.to_frame(), "phases": curve.phases()}
    names = (
        "start",
        "noise",
        "smoothed_noise",
        "smoothed_gain_ratio",
        "descent",
        "steps_charged",
        "spread",
        "first_lr",
    )
    found |= {name: getattr(curve, name) for name in names}
    found["bounds"] = {name: _tried(partial(curve.bounds, name)) for name in (None, *curve.metrics)}
    found["suggestions"] = {rule: _tried(partial(curve.suggest, rule)) for rule in (None, *lrs.suggest.RULES)}
    for schedule in (None, "triangular2", "sgdr", "one_cycle"):
        prior = _tried(partial(lrs.LRPrior.from_curves, [curve], schedule=schedule, lr_range=(1e-6, 20.0)))
        if isinstance(prior, str):
            found[f"prior, {schedule}"] = prior
            continue
        at = {
            "ppf": prior.ppf([0.01, 0.1, 0.5, 0.9, 0.99]),
            "pdf": prior.pdf(curve.lr[1:]),
            "cdf": prior.cdf(curve.lr[1:]),
        }
        found[f"prior, {schedule}"] = {"prior": prior, "sample": prior.sample(5, seed=1), **at}
    return found


def schedules() -> dict[str, Any]:
    """Every schedule at every step of some trainings."""
    found = {}
    for name in sorted({each.name for each in entry_points(group="lr_search.schedules")}):
        for steps, epoch, options in ((120, 10.0, {}), (75, None, {}), (200, 7.5, {"warmup_steps": 15})):
            if name in ("plateau", "refind") and options:
                continue
            made = lrs.schedules.by_name(name, 0.3, steps, epoch, **options)
            found[f"{name}, {steps} steps"] = [repr(made), made.describe(), *_values(made, steps)]
    return found


def _values(made: Any, steps: int) -> list[Any]:
    if not isinstance(made, lrs.schedules.Schedule):
        return []
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))], "lr": r} for r in (0.1, 0.4)], momentum=0.9)
    attached, rates = made.attach(optimizer), []
    for _ in range(10):
        rates.append([(group["lr"], group["momentum"]) for group in optimizer.param_groups])
        optimizer.step()
        attached.step()
    at = np.arange(steps + 1)
    return [made(at), made.momentum(at), made.cycle_ends(steps), rates]


def trainings() -> dict[str, Any]:
    """Single trainings, ensembles of their snapshots, and the range test at later points."""
    found: dict[str, Any] = {}
    for name, peak in {
        "constant": 0.1,
        "sgdr": 0.3,
        "one_cycle": 0.5,
        "linear": 1e3,
        "plateau": 0.2,
        "refind": 0.1,
    }.items():
        for kind, work in (("usual", workload()), ("hard", hard(optimizer=torch.optim.AdamW, num_steps=40))):
            options = {"patience": 0} if name == "plateau" else {"ramp_steps": 20} if name == "refind" else {}
            schedule = lrs.schedules.by_name(name, peak, work.num_steps, work.steps_per_epoch, **options)
            found[f"{name}, {kind}"] = _trained(lrs.train(work, schedule, seed=2, snapshots=3))
    moved = lrs.refind(
        workload(), lrs.schedules.SGDR(base_lr=0.0, max_lr=0.2, T_0=20), at=3, range_test={"num_steps": 40}
    )
    return {**found, "refind()": [moved.to_frame(), moved.steps_charged, moved.curves]}


def _trained(training: lrs.Training) -> dict[str, Any]:
    work, evaluations = training.workload, list(training)
    names = ("step", "steps_charged", "stopped", "reason")
    found = {"evaluations": evaluations, **{name: getattr(training, name) for name in names}}
    found |= {"weights": training.model.state_dict(), "schedule": repr(training.schedule)}
    if training.stopped == "finished" and training.snapshots:
        found["ensemble"] = training.evaluate(lrs.SnapshotEnsemble(work, training.snapshots))
        found["average"] = training.evaluate(lrs.average_weights(work, training.snapshots))
    return found


def main(folder: Path, parts: list[str]) -> None:
    """Run the parts, each into a file of its own."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    import house_proof_comparisons as kept

    alone = {"public": public, "curves": curves, "schedules": schedules, "trainings": trainings}
    for part in parts:
        found = alone[part]() if part in alone else getattr(kept, part)(folder)
        (folder / f"{part}.json").write_text(
            json.dumps({"from": str(Path(lrs.__file__).parent), "found": plain(found)})
        )


if __name__ == "__main__":
    sys.modules["house_proof_driver"] = sys.modules["__main__"]
    folder, sys.argv[1:] = Path(sys.argv[1]), sys.argv[2:]  # the report names the command
    main(folder, sys.argv[1:])
