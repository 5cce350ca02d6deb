"""The public surface, walked by its signatures: what can be called, and arguments with which each call is valid."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from torch import nn

import lr_search as lrs
import lr_search_optuna
import lr_search_ray
from lr_search import plugins
from lr_search.ramp.settings import RampSettings
from lr_search.report.figures import shapes_frame
from lr_search.report.figures.panels import Panels
from lr_search.samplers import Rung
from lr_search.studies.trial import TrialSpec

# called by Optuna, Ray Tune, a test of a plug-in, or this package alone
NOT_FOR_USERS = {
    "after_trial", "before_trial", "infer_relative_search_space", "sample_independent", "sample_relative", "reseed_rng", "place",
    "point", "value", "on_trial_complete", "on_trial_error", "on_trial_result", "answered", "heard", "seen", "run", "session", "first_pace",
    "start", "restore", "forward", "member_outputs", "shapes_frame", "pictures", "require", "unknown_name", "main", "checked",
    "require_name", "taken_options", "printable", "quoted", "error_text", "user_frames", "raised_by_user", "Picture", "UserCode",
    "plot_range_test", "of_options", "Control", "Schedule", "Controller", "Executor", "TrainingRun", "Stop",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A function, class or bound method, and what makes a valid call of it.

    Args:
        path: what it is called.
        function: to be called.
        needed: makes the arguments without which the call is not valid.
    """

    path: str
    function: Callable[..., Any]
    needed: Callable[[], dict[str, Any]]

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """By name; those that take whatever is left are left out."""
        found = inspect.signature(self.function).parameters
        return {name: each for name, each in found.items() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}


def modules() -> Iterator[Any]:
    """Every package, and the modules that are public by a name of their own."""
    yield from (lrs.errors, lrs.suggest)
    for root in (lrs, lr_search_optuna, lr_search_ray):
        yield root
        for info in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            if info.ispkg and not info.name.endswith(".hub") and not info.name.startswith("lr_search.testing"):
                yield importlib.import_module(info.name)


def public_objects() -> Iterator[tuple[str, Any]]:
    """By path: what the packages export, and what is registered as a plug-in."""
    for module in modules():
        own = (name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
        for name in getattr(module, "__all__", own):
            if not name.startswith("_"):
                yield f"{module.__name__}.{name}", getattr(module, name)
    for group in (plugins.STRATEGIES, plugins.SCHEDULES, plugins.EXECUTORS):
        for name, point in plugins.registered(group).items():
            if point.value.startswith("lr_search"):
                yield point.value, plugins.load_plugin(group, name)


def is_for_users(path: str) -> bool:
    """Whether a person calls it."""
    return path.replace(":", ".").rpartition(".")[2] not in NOT_FOR_USERS


def callables() -> Iterator[tuple[str, Any, type | None]]:
    """By path: what a person can call, each once; a method with its class."""
    seen: set[int] = set()
    for path, value in public_objects():
        if id(value) in seen or not is_for_users(path):
            continue
        seen.add(id(value))
        if inspect.isfunction(value):
            yield path, value, None
        elif inspect.isclass(value) and not issubclass(value, BaseException):
            if not inspect.isabstract(value):
                yield path, value, None
            yield from ((f"{path}.{name}", method, value) for name, method in methods(value) if is_for_users(name))


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Those that a class of this package defines, or one of its bases of this package."""
    for name in dir(kind):
        static = inspect.getattr_static(kind, name)
        function = getattr(static, "__func__", static)
        ours = str(getattr(function, "__module__", "")).startswith("lr_search")
        if inspect.isfunction(function) and ours and (not name.startswith("_") or name == "__call__"):
            yield name, static


# ---- things to call with ----


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    """The square of the output."""
    return model(batch).square().mean()


def batches() -> torch.Tensor:
    """Four batches of two examples."""
    return torch.linspace(-1, 1, 16).reshape(4, 2, 2)


def workload() -> lrs.Workload:
    """A linear layer, trained for 20 steps."""
    return lrs.Workload(
        model=partial(nn.Linear, 2, 1), optimizer=torch.optim.SGD, loss=loss, train_data=batches, valid_data=batches,
        num_steps=20, eval_every=10, combine="mean",
    )  # fmt: skip


def descend(run: lrs.TrainingRun) -> None:
    """A training function: a bowl, in plain Python."""
    x = 1.0
    for _ in range(run.num_steps):
        run.loss(x * x)
        x -= run.lr * 2 * x
        run.step()
        if run.due:
            run.report(val_loss=x * x)


def data() -> torch.utils.data.TensorDataset:
    """Eight examples of two classes."""
    return torch.utils.data.TensorDataset(torch.randn(8, 2), torch.randint(2, (8,)))


@cache
def curve() -> lrs.LRCurve:
    """A range test's."""
    return workload().range_test(num_steps=30, start_lr=1e-4, end_lr=10.0)


@cache
def comparison() -> lrs.Comparison:
    """Of two trials."""
    return lrs.compare(
        workload(), strategies=["grid"], schedules=["constant"], budget=2, seeds=1, storage=None, progress=False
    )


def long_workload() -> lrs.Workload:
    """Long enough for pilots."""
    return replace(workload(), num_steps=480)


@cache
def transferred() -> lrs.Transfer:
    """Of three pilots."""
    return lrs.transfer(long_workload(), schedule="constant", progress=False)


def study() -> optuna.Study:
    """With one finished trial."""
    made = optuna.create_study()
    made.enqueue_trial({"lr": 1e-3})
    made.optimize(lambda trial: trial.suggest_float("lr", 1e-5, 10.0, log=True), n_trials=1)
    return made


def trial() -> optuna.Trial:
    """One that runs."""
    return optuna.create_study().ask()


def training() -> lrs.Training:
    """At its beginning."""
    return lrs.train(workload(), lrs.schedules.Constant(0.1), snapshots=2)


def snapshots() -> list[Any]:
    """Two, of one training."""
    run = lrs.train(workload(), lrs.schedules.by_name("triangular", lr=0.1, num_steps=20, cycles=3), snapshots=2)
    list(run)
    return list(run.snapshots)


def ensemble() -> lrs.SnapshotEnsemble:
    """Of two models."""
    return lrs.SnapshotEnsemble(workload(), snapshots())


def model_and_optimizer() -> dict[str, Any]:
    """On which a range test runs."""
    model = nn.Linear(2, 1)
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "batches": batches(),
        "loss": loss,
    }


def plateau() -> Any:
    """The controller."""
    return lrs.controllers.ReduceOnPlateau(0.1, patience=2)


@cache
def mlflow_server() -> str:
    """A database that MLflow has made, which takes it seconds."""
    uri = f"sqlite:///{tempfile.mkdtemp()}/mlflow.db"
    comparison().to_mlflow(tracking_uri=uri)
    return uri


def saved(write: Callable[[Path], Any]) -> str:
    """A file that holds it."""
    path = Path(tempfile.mkdtemp()) / "saved"
    write(path)
    return str(path)


INSTANCES: dict[str, Callable[[], Any]] = {
    "Comparison": comparison, "LRCurve": curve, "LRPrior": lambda: lrs.LRPrior.around(1e-3), "Workload": workload,
    "Training": training, "SnapshotEnsemble": ensemble, "Recommendation": lambda: comparison().recommend(),
    "Refinding": lambda: lrs.refind(workload(), lrs.schedules.Constant(0.1), at=5, range_test={"num_steps": 20}),
    "ReduceOnPlateau": plateau, "Refind": lambda: lrs.schedules.by_name("refind", lr=0.1, num_steps=300),
    "FusedExecutor": lrs.FusedExecutor, "LocalExecutor": lrs.LocalExecutor, "RayExecutor": lr_search_ray.RayExecutor,
    "StudySearcher": lambda: lr_search_ray.StudySearcher(**needed_by(lr_search_ray.StudySearcher, "StudySearcher")),
    "Suggestion": lambda: curve().suggest(), "Trainable": lambda: lrs.Trainable(descend, num_steps=30),
    "Transfer": lambda: transferred(),
}  # fmt: skip


def _prior(search: Any) -> lrs.LRPrior:
    return lrs.LRPrior.around(0.1)


def _spec() -> TrialSpec:
    return TrialSpec(0, lrs.schedules.Constant(0.1))


# by parameter, unless the table below knows it by function
VALUES: dict[str, Callable[[], Any]] = {
    "lr": lambda: 0.1, "base_lr": lambda: 0.01, "max_lr": lambda: 0.1, "num_steps": lambda: 300, "step_size": lambda: 50,
    "T_0": lambda: 50, "gamma": lambda: 0.99, "timescale": lambda: 50, "decay_steps": lambda: 50, "workload": workload,
    "schedule": lambda: lrs.schedules.Constant(0.1), "curve": curve, "curves": lambda: [curve()], "study": study, "trial": trial,
    "optimizer": lambda: model_and_optimizer()["optimizer"], "snapshots": snapshots, "prior": lambda: lrs.LRPrior.around(1e-3),
    "directory": tempfile.mkdtemp, "storage": lambda: comparison().storage, "step": lambda: 10, "steps": lambda: np.arange(3.0),
    "momentum": lambda: False, "groups": lambda: 1, "value": lambda: "up",
    "mode": lambda: "triangular", "q": lambda: 0.5, "n": lambda: 3,
    "power": lambda: 2.0, "seed": lambda: 0, "found": comparison, "evaluations": lambda: list(training()), "at": lambda: 5,
    "spec": _spec, "train": data, "valid": data, "model": lambda: partial(nn.Linear, 2, 2), "loss": lambda: loss,
}  # fmt: skip
OF_FUNCTION: dict[str, dict[str, Callable[[], Any]]] = {
    "lr_search.branches": {"lengths": lambda: [5, 10]},
    "Branch": {"model": lambda: nn.Linear(2, 1), "stopped": lambda: "finished", "reason": lambda: ""},
    "Evaluation": {"train_loss": lambda: 1.0, "metrics": lambda: {"loss": 1.0}},
    "LRCurve": {"lr": lambda: np.geomspace(1e-4, 1, 30), "loss": lambda: np.ones(30)},
    "from_arrays": {"lr": lambda: np.geomspace(1e-4, 1, 30), "loss": lambda: np.ones(30)},
    "lr_search.LRCurve.from_json": {"record": lambda: curve().to_json()},
    "lr_search.LRPrior.from_json": {"record": lambda: VALUES["prior"]().to_json()},
    "lr_search.Plan.from_json": {"record": lambda: lrs.Plan(num_steps=300).to_json()},
    "pool": {"curves": lambda: [curve(), curve()]},
    "LRPrior": {"low": lambda: 1e-4, "high": lambda: 1.0, "mode": lambda: 1e-2, "log10_std": lambda: 0.5},
    "around": {"lr": lambda: 1e-3},
    "lr_search.LRCurve.load": {"path": lambda: saved(curve().save)},
    "lr_search.SnapshotEnsemble.load": {"path": lambda: saved(ensemble().save)},
    "read": {"directory": lambda: _parquet()},
    "save": {"path": lambda: str(Path(tempfile.mkdtemp()) / "file"), "checkpoint_path": lambda: tempfile.mkdtemp() + "/file"},
    "Recommendation": {
        "schedule": lambda: "constant", "optimizer": lambda: "SGD", "value": lambda: 1.0, "reason": lambda: "",
    },
    "Refinding": {"curves": lambda: {5: curve()}, "reason": lambda: ""},
    "Trainable": {"train": lambda: descend, "num_steps": lambda: 30},
    "trainable": {"num_steps": lambda: 30},
    "Workload": {"optimizer": lambda: torch.optim.SGD, "train_data": lambda: batches, "valid_data": lambda: batches},
    "classification": {"optimizer": lambda: torch.optim.SGD},
    "regression": {"optimizer": lambda: torch.optim.SGD, "train": lambda: _numbers(), "valid": lambda: _numbers()},
    "build_optimizer": {"model": lambda: nn.Linear(2, 1)},
    "evaluate": {"model": lambda: nn.Linear(2, 1)},
    "load_state_dict": {"state": lambda: training().state_dict()},
    "Refind": {"cycles": lambda: lrs.schedules.by_name("sgdr", lr=0.1, num_steps=300), "num_steps": lambda: 30},
    "by_name": {"name": lambda: "constant"}, "lr_search.optimizers.by_name": {"name": lambda: "adam"},
    "default_lr": {"factory": lambda: torch.optim.SGD},
    "rules_of": {"kind": lambda: torch.optim.SGD},
    "FixedSampler": {"lr": lambda: 0.1}, "GridSampler": {"num_points": lambda: 4},
    "HandoverSampler": {"first": optuna.samplers.RandomSampler, "then": optuna.samplers.RandomSampler, "num_first": lambda: 2},
    "PerTrialSampler": {"factory": lambda: optuna.samplers.RandomSampler},
    "Strategy": {"name": lambda: "mine", "sampler": lambda: lambda search: optuna.samplers.RandomSampler(), "describe": lambda: "mine"},
    "Rung": {"share": lambda: 0.1, "pilots": lambda: 3},
    "Pilots": {"rungs": lambda: [Rung(0.1, 3)], "sampler": lambda: lambda search: optuna.samplers.RandomSampler(), "prior": lambda: _prior},
    "Transfer": {
        "log10_std": lambda: 0.3, "interval": lambda: (0.01, 1.0), "exponent": lambda: 0.0, "schedule": lambda: "constant",
        "optimizer": lambda: "SGD", "direction": lambda: "minimize", "steps": lambda: 100, "remarks": lambda: (),
        "table": lambda: transferred().table, "posterior": lambda: transferred().posterior, "range_test": lambda: lrs.LRPrior.around(0.1),
    },
    "lr_search.transfer": {"workload": long_workload, "schedule": lambda: "constant", "progress": lambda: False},
    "Joined": {"schedules": lambda: (lrs.schedules.Constant(0.1),) * 2, "boundaries": lambda: (5,)},
    "join": {"schedules": lambda: [lrs.schedules.Constant(0.1)] * 2, "boundaries": lambda: [5]},
    "warmup": {"num_steps": lambda: 5}, "StepDecay": {"step_size": lambda: 50},
    "TorchCall": {"kind": lambda: "StepLR", "arguments": lambda: ["step_size=3"], "first_lr": lambda: 0.1},
    "plot_learning_curves": {"metric": lambda: "loss", "direction": lambda: "minimize"},
    "suggest_lr": {"prior": VALUES["prior"]}, "suggest_schedule": {"names": lambda: ["constant"]}, "objective": {},
    "schedule_of": {"config": lambda: {"lr": 0.1, "schedule": "constant"}},
    "schedule_space": {"names": lambda: ["constant"]},
    "ProbeSampler": {"largest_lr": lambda: 1.0}, "Comparison": {"name": lambda: "comparison"},
    "StudySearcher": {"metric": lambda: "loss", "space": lambda: lr_search_ray.search_space(lrs.LRPrior.around(1e-3))},
    "OptunaPruningScheduler": {"searcher": lambda: INSTANCES["StudySearcher"]()},
    "extra_steps": {"num_steps": lambda: 300}, "suggest": {"trial_id": lambda: "a"},
    "lr_search.compare": {
        "workload": workload, "strategies": lambda: ["grid"], "schedules": lambda: ["constant"], "budget": lambda: 2,
        "seeds": lambda: 1, "storage": lambda: None,
    },
    "retrain": {"best": lambda: comparison().recommend()}, "lr_search.load": {"storage": lambda: comparison().storage},
    "refind": {"at": lambda: 5},
    "Suggestion": {"rule": lambda: "gain_ratio", "status": lambda: "ok", "reason": lambda: "", "log10_std": lambda: 0.3},
    "judge": {"spread": lambda: 0.1}, "sample": {"n": lambda: 3},
    "refind:refind": {}, "to_mlflow": {"tracking_uri": mlflow_server},
}  # fmt: skip
FRAMES = {
    "plot_anytime": "anytime", "plot_costs": "costs", "plot_forest": "pairwise", "plot_learning_curves": "evaluations",
    "plot_objective_by_lr": "trials", "plot_pruning": "trials", "plot_schedules": "shapes", "plot_timeline": "all_trials",
}  # fmt: skip


def _numbers() -> torch.utils.data.TensorDataset:
    return torch.utils.data.TensorDataset(torch.randn(8, 2), torch.randn(8, 1))


def _parquet() -> str:
    directory = tempfile.mkdtemp()
    comparison().to_parquet(directory)
    return directory


def _frame(name: str) -> pd.DataFrame:
    if name == "shapes":
        return shapes_frame(Panels(comparison()))
    held = getattr(comparison(), name, None)
    return held() if callable(held) else held if held is not None else pd.DataFrame()


def needed_by(function: Callable[..., Any], path: str) -> dict[str, Any]:
    """Values for the parameters without a default."""
    short = path.replace(":", ".").rpartition(".")[2]
    if path == "lr_search.range_test":
        return model_and_optimizer()
    own = OF_FUNCTION.get(path, OF_FUNCTION.get(short, {}))
    result = {}
    for name, parameter in inspect.signature(function).parameters.items():
        is_needed = parameter.default is parameter.empty or name in own
        if not is_needed or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if short in FRAMES and name == FRAMES[short]:
            result[name] = _frame(name)
        elif name in own or name in VALUES:
            result[name] = (own.get(name) or VALUES[name])()
    return result


def targets() -> list[Target]:
    """All that a person can call, methods on an instance."""
    found = []
    for path, value, kind in callables():
        function = value
        if kind is not None:
            function = _bound(path.rpartition(".")[2], value, kind)
        if function is None:
            continue
        found.append(Target(path, function, partial(needed_by, function, path)))
    found.append(Target("RampSettings", RampSettings, dict))
    return found


def _bound(name: str, static: Any, kind: type) -> Callable[..., Any] | None:
    if isinstance(static, classmethod | staticmethod):
        return getattr(kind, name)
    if kind.__name__ in INSTANCES:
        return getattr(INSTANCES[kind.__name__](), name)
    if issubclass(kind, lrs.schedules.Schedule) and not inspect.isabstract(kind):
        return getattr(kind(**needed_by(kind, kind.__name__)), name)
    return None
