"""The order of rooms: a file imports, when it is loaded, only rooms before its own."""

import json
from pathlib import Path

from tests.helpers.imports import circle, imports_of, modules_imported, source_files

# lowest first
LAYERS = (
    "errors", "plugins", "arrays", "schedules", "curves", "rng", "optimizers", "workloads", "training", "ramp", "controllers",
    "ensembles", "fused", "samplers", "storage", "studies", "executors", "results", "comparison", "scaling", "report", "cli",
    "demo", "testing",
)  # fmt: skip
ABOVE_ALL = {"lr_search", "lr_search.__main__"}

# delegating calls that import, inside a function, what stands higher
REACHES = {
    ("lr_search.schedules.base", "lr_search.optimizers.param_groups"),  # schedule.attach
}
# who else's packages a room may import, at any time
ONLY_IN = {
    "torch": LAYERS[LAYERS.index("rng") :],
    "optuna": LAYERS[LAYERS.index("samplers") :],
    "matplotlib": ("report",),
    "jinja2": ("report",),
    "ray": (),
    "lr_search_optuna": (),
    "lr_search_ray": (),
}
REACHES_OUT = {("lr_search.curves.prior", "optuna")}  # prior.distribution
FILES = source_files()
# what is left to move; it may only shrink
LEFT = json.loads((Path(__file__).parent / "layers_left.json").read_text())


def room(module):
    return module.split(".")[1]


def upward(module, source, files=FILES, when="load"):
    """The modules that it imports from rooms after its own, or from no room that is known."""
    if module in ABOVE_ALL:
        return set()
    order = {name: place for place, name in enumerate(LAYERS)}
    mine = order.get(room(module), -1)
    found = modules_imported(source, files, when)
    return {each for each in found if order.get(room(each), len(order)) > mine}


def others(module, source):
    """The other packages that it imports, at any time but for types, though its room may not."""
    roots = {each.module.partition(".")[0] for each in imports_of(source) if each.when != "types"}
    allowed = {root for root in ONLY_IN if room(module) in ONLY_IN[root] or (module, root) in REACHES_OUT}
    return roots & ONLY_IN.keys() - allowed


def violations():
    found = {module: "in no room" for module in FILES if module not in ABOVE_ALL and room(module) not in LAYERS}
    for module, path in FILES.items():
        if module not in found and module not in ABOVE_ALL:
            up = sorted(upward(module, path.read_text()) | others(module, path.read_text()))
            if up:
                found[module] = f"imports {', '.join(up)}"
    return found


def test_every_file_is_in_a_room_and_imports_only_rooms_before_its_own():
    assert violations() == LEFT


def test_no_files_import_each_other_in_a_circle():
    graph = {module: modules_imported(path.read_text(), FILES, "load") for module, path in FILES.items()}
    assert circle({module: used for module, used in graph.items() if module not in ABOVE_ALL}) == []
