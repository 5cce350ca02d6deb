"""The order of rooms: a file imports, when it is loaded, only rooms before its own."""

import ast
from pathlib import Path

import pytest

from tests.helpers.imports import PACKAGES, ROOT, circle, imports_of, modules_imported, source_files

# lowest first
LAYERS = (
    "errors", "kinds", "plugins", "arrays", "plain", "schedules", "curves", "rng", "optimizers", "state", "workloads", "training", "ramp",
    "controllers", "own_loops", "ensembles", "fused", "samplers", "storage", "studies", "executors", "results", "comparison", "scaling",
    "report", "cli", "demo", "testing",
)  # fmt: skip
RAY_LAYERS = ("cluster", "tune", "jobs", "ray_executor")
TRAINERS = ("lr_search_keras", "lr_search_lightning", "lr_search_skorch", "lr_search_transformers")
ABOVE_ALL = {"lr_search", "lr_search.__main__", "lr_search_ray"}

# delegating calls that import, inside a function or for types, what stands higher
REACHES = {
    ("lr_search.schedules.base", "lr_search.optimizers.param_groups"),  # schedule.attach
    ("lr_search.schedules.named", "lr_search.training.controller"),  # the type of what a name may give
    ("lr_search.curves.curve", "lr_search.report.notebook"),  # a curve in a notebook
    ("lr_search.curves.curve", "lr_search.report.plots.curve_plot"),  # curve.plot
    ("lr_search.curves.suggest", "lr_search.report.notebook"),  # a suggestion in a notebook
    ("lr_search.curves.prior", "lr_search.report.plots.prior_plot"),  # prior.plot
    ("lr_search.curves.prior", "lr_search.samplers.study_prior"),  # LRPrior.from_study
    ("lr_search.workloads.workload", "lr_search.ramp.range_test"),  # workload.range_test
    ("lr_search.workloads.workload", "lr_search.ramp.settings"),
    ("lr_search.workloads.trainable", "lr_search.ramp.settings"),  # trainable.range_test
    ("lr_search.workloads.trainable", "lr_search.own_loops.function_ramp"),
    ("lr_search.workloads.trainable", "lr_search.own_loops.first_look"),  # what a comparison begins with
    ("lr_search.workloads.trainable", "lr_search.own_loops.training_run"),  # the type of what a function is given
    ("lr_search.training.training", "lr_search.ramp.range_test"),  # training.range_test
    ("lr_search.training.training", "lr_search.ramp.settings"),
    ("lr_search.ramp.range_test", "lr_search.fused.range_tests"),  # several seeds in one ramp
    ("lr_search.ramp.refinding", "lr_search.report.plots.refinding_plot"),  # refinding.plot
    ("lr_search.results.recommendation", "lr_search.report.notebook"),  # a recommendation in a notebook
    ("lr_search.comparison.comparison", "lr_search.report.notebook"),  # a comparison in a notebook
    ("lr_search.comparison.comparison", "lr_search.report.page"),  # comparison.save
    ("lr_search.comparison.comparison", "lr_search.report.terminal"),  # print(comparison)
    ("lr_search.comparison.comparison", "lr_search.report.to_mlflow"),  # comparison.to_mlflow
    ("lr_search.comparison.comparison", "lr_search.report.to_tensorboard"),  # comparison.to_tensorboard
    ("lr_search.scaling.told", "lr_search.report.plots.transfer_plot"),  # transfer.plot
    ("lr_search.cli.commands", "lr_search.demo"),  # lr-search demo
    ("lr_search_ray.jobs.session", "lr_search_ray.ray_executor"),  # the type of its settings
}
# other packages that only some rooms may import, at any time but for types
ONLY_IN = {
    "torch": LAYERS[LAYERS.index("rng") :],
    "optuna": LAYERS[LAYERS.index("samplers") :],
    "matplotlib": ("report",),
    "jinja2": ("report",),
    "ray": (),
    "lr_search_optuna": (),
    "lr_search_ray": (),
    **dict.fromkeys(["accelerate", "keras", "lightning", "pytorch_lightning", "skorch", "transformers", *TRAINERS], ()),
}
REACHES_OUT = {("lr_search.curves.prior", "optuna")}  # prior.distribution


MOST_FILES_BESIDE, MOST_FILES, MOST_LINES = 8, 15, 300

FILES = {
    module: path for package in PACKAGES for module, path in source_files(package).items() if ".hub." not in module
}


def room(module):
    return module.split(".")[1] if "." in module else ""


def upward(module, source, when="load"):
    """The modules that it imports from rooms after its own, or from no room that is known."""
    package = module.partition(".")[0]
    layers = {"lr_search": LAYERS, "lr_search_ray": RAY_LAYERS}.get(package, ())
    if module in ABOVE_ALL or not layers:
        return set()
    imported = {each for each in modules_imported(source, FILES, when) if each.startswith(f"{package}.")}
    mine = layers.index(room(module))
    return {each for each in imported if room(each) not in layers or layers.index(room(each)) > mine}


def foreign(module, source):
    """The other packages that it imports, at any time but for types, though its room may not."""
    if not module.startswith("lr_search."):
        return set()
    roots = {each.module.partition(".")[0] for each in imports_of(source) if each.when != "types"}
    allowed = {root for root in ONLY_IN if room(module) in ONLY_IN[root] or (module, root) in REACHES_OUT}
    return roots & ONLY_IN.keys() - allowed


def from_the_top(module, source):
    """What it imports from `lr_search` itself: names that are found by looking into every room."""
    if module in ABOVE_ALL:
        return set()
    names = {each.name for each in imports_of(source) if each.module == "lr_search" and each.name != "__version__"}
    return {f"lr_search.{name}" for name in names if name is not None and f"lr_search.{name}" not in FILES}


def violations(module, source):
    return upward(module, source) | foreign(module, source) | from_the_top(module, source)


# ---- the house as it stands ----


@pytest.mark.parametrize(("package", "layers"), [("lr_search", LAYERS), ("lr_search_ray", RAY_LAYERS)])
def test_every_file_is_in_a_room_that_is_known(package, layers):
    mine = [module for module in FILES if module.startswith(f"{package}.") and module not in ABOVE_ALL]
    assert [module for module in mine if room(module) not in layers] == []


def test_a_file_imports_only_rooms_before_its_own():
    found = {module: violations(module, path.read_text()) for module, path in FILES.items()}
    assert {module: names for module, names in found.items() if names} == {}


def test_what_delegating_calls_reach_is_what_the_table_names():
    reached = {
        (module, target)
        for module, path in FILES.items()
        for when in ("function", "types")
        for target in upward(module, path.read_text(), when)
    }
    assert reached == REACHES


def test_no_files_import_each_other_in_a_circle():
    graph = {module: modules_imported(path.read_text(), FILES, "load") for module, path in FILES.items()}
    assert circle({module: used for module, used in graph.items() if module not in ABOVE_ALL}) == []


def test_rooms_and_files_stay_small():
    files = source_files()
    beside = [path for path in files.values() if path.parent == ROOT / "lr_search"]
    folders = [path.parent for path in FILES.values() if path.parent != ROOT / "lr_search"]
    lines = {module: len(path.read_text().splitlines()) for module, path in FILES.items()}
    assert len(beside) <= MOST_FILES_BESIDE
    assert {folder.name: folders.count(folder) for folder in folders if folders.count(folder) > MOST_FILES} == {}
    assert {module: count for module, count in lines.items() if count > MOST_LINES} == {}


# ---- the test itself ----


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("lr_search.curves.rules", "from lr_search.training.step import Stepper", {"lr_search.training.step"}),
        ("lr_search.curves.rules", "from lr_search.report.plots import style", {"lr_search.report.plots.style"}),
        ("lr_search.curves.rules", "import lr_search.ramp.range_test", {"lr_search.ramp.range_test"}),
        ("lr_search.curves.rules", "class A:\n    import lr_search.ramp.run", {"lr_search.ramp.run"}),
        ("lr_search.curves.rules", "import torch", {"torch"}),
        ("lr_search.studies.plan", "def f():\n    import ray", {"ray"}),
        ("lr_search.studies.plan", "from lr_search_ray import RayExecutor", {"lr_search_ray"}),
        ("lr_search.studies.plan", "from lr_search import Workload", {"lr_search.Workload"}),
        ("lr_search.results.tables", "def f():\n    import matplotlib.pyplot", {"matplotlib"}),
        (
            "lr_search_ray.cluster.quiet",
            "from lr_search_ray.jobs.session import Session",
            {"lr_search_ray.jobs.session"},
        ),
        ("lr_search_optuna.checks", "from lr_search import LRPrior", {"lr_search.LRPrior"}),
        ("lr_search.report.page", "from lr_search.curves.rules import RULES\nimport torch, optuna", set()),
        ("lr_search.curves.rules", "if TYPE_CHECKING:\n    import torch", set()),
    ],
)
def test_a_planted_import_is_found(module, line, found):
    assert violations(module, line) == found


def test_a_planted_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("line", ["from . import step", "from lr_search.errors import *"])
def test_imports_that_do_not_say_what_they_take_are_refused(line):
    with pytest.raises(AssertionError):
        imports_of(line)


def test_pyplot_is_never_imported():
    for module, path in FILES.items():
        named = {f"{each.module}.{each.name}" for each in imports_of(path.read_text())}
        assert not any(name.startswith("matplotlib.pyplot") for name in named), module


def test_every_file_says_what_it_holds():
    silent = [module for module, path in FILES.items() if not ast.get_docstring(ast.parse(Path(path).read_text()))]
    assert silent == []
