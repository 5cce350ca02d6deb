"""DriverPath: modules and relative paths are on a worker what they are on the driver."""

import os
import sys
import sysconfig

import pytest

from lr_search_ray.cluster.driver_path import DriverPath, driver_path
from tests.helpers.processes import python, write

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("no_ray")]


@pytest.fixture
def path(monkeypatch, tmp_path):
    """Sets this process's import path, and puts it back with the current folder; its folders are made in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def put(*names):
        entries = [str(tmp_path / name) if name.isidentifier() else name for name in names]
        for entry in entries:
            if entry.startswith(str(tmp_path)) and "gone" not in entry:
                os.makedirs(entry, exist_ok=True)
        monkeypatch.setattr(sys, "path", entries)
        return entries

    return put


LIBRARY = os.path.dirname(os.__file__)
PACKAGES = sysconfig.get_paths()["purelib"]


def names(tmp_path, entries):
    return [os.path.relpath(each, tmp_path) if each.startswith(str(tmp_path)) else each for each in entries]


def test_what_comes_before_the_standard_library_and_what_behind_it_is_kept_apart(path, tmp_path):
    before = (
        f"{PACKAGES}/ray",
        f"{LIBRARY}/site-packages/ray",
        "lib",
        "",
        "gone",
        "script",
        "lib",
    )  # as `import ray` does
    path(*before, LIBRARY, f"{LIBRARY}/lib-dynload", PACKAGES, "editable")
    place = driver_path()
    assert place.cwd == str(tmp_path)
    assert names(tmp_path, place.ahead) == ["lib", ".", "script"]
    assert names(tmp_path, place.behind) == ["editable"]


def test_a_worker_looks_where_the_driver_looks_in_the_same_order(path, tmp_path):
    path("lib", "script", LIBRARY, "editable")
    place = driver_path()
    path("cwd", "script", "ray", LIBRARY, PACKAGES)  # as Ray makes it
    place.enter()
    assert names(tmp_path, sys.path) == ["lib", "script", "cwd", "ray", LIBRARY, PACKAGES, "editable"]
    place.enter()
    assert len(sys.path) == 7


def test_what_is_not_on_this_machine_is_left_out(path, tmp_path):
    path(LIBRARY)
    (tmp_path / "sub").mkdir()
    DriverPath(
        str(tmp_path / "gone"), (str(tmp_path / "gone"),), (str(tmp_path / "gone"), str(tmp_path / "sub"))
    ).enter()
    assert os.getcwd() == str(tmp_path)
    assert names(tmp_path, sys.path) == [LIBRARY, "sub"]
    DriverPath(str(tmp_path / "sub"), (), ()).enter()
    assert os.getcwd() == str(tmp_path / "sub")


# on a real worker

START = """
    import logging, os, sys
    import ray
    from lr_search_ray.cluster.packing import packed, unpacked
    from lr_search_ray.cluster.driver_path import driver_path

    def start(**settings):
        ray.init(
            address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **settings
        )

    def losses(workload):
        import lr_search as lrs
        schedule = lrs.schedules.by_name("constant", lr=0.1, num_steps=workload.num_steps)
        return [evaluation.metrics["loss"] for evaluation in lrs.train(workload, schedule, seed=0)]

    @ray.remote
    def on_worker(data, place):
        import os, sys
        place.enter()
        return losses(unpacked(data)["sgd"]), os.getcwd()

    def compared(workload, factory=None):
        work = packed({"sgd": workload}, factory)
        there, folder = ray.get(on_worker.remote(work, driver_path()))
        ray.shutdown()
        print("same" if there == losses(workload) else (there, losses(workload)), folder)
"""
SCRIPT = (
    START
    + """
    import torch
    from torch import nn
    import lr_search as lrs
    import beside

    class Pairs(torch.utils.data.Dataset):
        def __init__(self, path):
            self.numbers = torch.tensor([float(word) for word in open(path).read().split()])

        def __len__(self):
            return len(self.numbers)

        def __getitem__(self, i):
            return self.numbers[i : i + 1], beside.target(self.numbers[i : i + 1])

    def batches():
        return torch.utils.data.DataLoader(Pairs("numbers.txt"), 4, shuffle=True)

    def loss(model, batch):
        import late
        return late.loss(model(batch[0]), batch[1])

    if __name__ == "__main__":
        start()
        sys.path.insert(0, sys.argv[1])
        compared(lrs.Workload(
            model=lambda: nn.Linear(1, 1), optimizer=torch.optim.SGD, loss=loss, train_data=batches, valid_data=batches,
            num_steps=3, eval_every=1, device="cpu",
        ))
"""
)


def test_a_scripts_classes_relative_data_and_modules_beside_it_reach_a_worker(tmp_path):
    """The current folder, another, holds a module of the same name, which Ray's workers would find first."""
    write(tmp_path / "project" / "beside.py", "def target(x):\n    return 3 * x\n")
    write(tmp_path / "elsewhere" / "beside.py", "raise RuntimeError('not this one')\n")
    write(tmp_path / "late" / "late.py", "def loss(out, target):\n    return ((out - target) ** 2).mean()\n")
    write(tmp_path / "elsewhere" / "numbers.txt", " ".join(str(i / 16) for i in range(16)))
    script = write(tmp_path / "project" / "script.py", SCRIPT)
    told = python(tmp_path / "elsewhere", script, tmp_path / "late")
    assert told.split() == ["same", str(tmp_path / "elsewhere")]


PACKAGE = (
    START
    + """
    from package.work import build
    start(runtime_env={"working_dir": "."})
    compared(build(), "package.work:build")
"""
)
BUILD = """
    import threading
    import torch
    from torch import nn
    import lr_search as lrs
    from . import numbers

    def build():
        lock = threading.Lock()
        x = torch.tensor(numbers.NUMBERS)[:, None]
        return lrs.regression(
            model=lambda: (lock, nn.Linear(1, 1))[1], optimizer=torch.optim.SGD, train=(x, 2 * x), valid=(x, 2 * x),
            batch_size=4, num_steps=3, eval_every=1, device="cpu",
        )
"""


def test_a_worker_with_a_copy_of_the_code_stays_in_it(tmp_path):
    """Its factory is that of the copy, imported by a process that never saw the driver's."""
    write(tmp_path / "package" / "__init__.py", "")
    write(tmp_path / "package" / "numbers.py", f"NUMBERS = {[i / 16 for i in range(16)]}\n")
    write(tmp_path / "package" / "work.py", BUILD)
    write(tmp_path / "package" / "script.py", PACKAGE)
    same, folder = python(tmp_path, "-m", "package.script").split()
    assert same == "same"
    assert folder != str(tmp_path)
    assert "working_dir_files" in folder
