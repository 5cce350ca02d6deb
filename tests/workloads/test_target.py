"""What the command line calls a workload: a module and a name, or a file and a name."""

import pickle
import sys

import pytest

from lr_search.errors import InvalidInputError, UnknownNameError, WorkloadError
from lr_search.workloads.target import factory_of, find_named, find_workload, short_target, split_target

FILE = """
from _beside_{n} import SIZE
from torch import nn, optim
import lr_search as lrs
def make(): return nn.Linear(SIZE, 1)
def loss(model, batch): return model(batch).square().mean()
def workload(): return lrs.Workload(model=make, optimizer=optim.SGD, loss=loss, train_data=[], valid_data=[], num_steps=7)
made = workload()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that holds net_<n>.py and what it imports; another is the current one."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "_beside_1.py").write_text("SIZE = 3")
    (tmp_path / "work" / "net_1.py").write_text(FILE.format(n=1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path / "work"
    for name in [name for name in sys.modules if name.endswith(("net_1", "_beside_1"))]:
        del sys.modules[name]


@pytest.mark.parametrize("absolute", [False, True])
def test_a_file_is_as_good_as_a_module(folder, absolute):
    place = folder / "net_1.py" if absolute else "work/net_1.py"
    workload = find_workload(f"{place}:workload")
    assert (workload.num_steps, workload.model().in_features) == (7, 3)
    assert find_workload(f"{place}:made").model is workload.model  # loaded once
    assert pickle.loads(pickle.dumps(workload)).num_steps == 7
    assert factory_of("work/net_1.py:workload") == f"{folder / 'net_1.py'}:workload"
    assert factory_of("work/net_1.py:made") is None


def test_a_file_with_a_drive_and_backslashes(folder):
    r"""On a machine where these are letters of a file's name like any other."""
    (folder.parent / r"C:\x\net_1.py").write_text("made = 3")
    assert find_named(r"C:\x\net_1.py:made") == 3


@pytest.mark.parametrize(
    ("target", "parts", "short"),
    [
        ("pkg.mod:name", ("pkg.mod", "name"), "pkg.mod:name"),
        ("net.py:name", ("net.py", "name"), "net.py:name"),
        ("../a/net.py:name", ("../a/net.py", "name"), "net.py:name"),
        (r"C:\x\net.py:name", (r"C:\x\net.py", "name"), "net.py:name"),
        ("C:/x/net.py:name", ("C:/x/net.py", "name"), "net.py:name"),
    ],
)
def test_the_last_colon_parts_file_and_name(target, parts, short):
    assert (split_target(target), short_target(target)) == (parts, short)


@pytest.mark.parametrize("target", [r"C:\x\net.py", "C:/x/net.py", "net.py", "net.py:", ":name"])
def test_a_file_without_a_name_is_refused(target):
    with pytest.raises(InvalidInputError, match=r"must be given as pkg.mod:name or path/file.py:name, but got"):
        split_target(target)


def test_the_nearest_file_and_name_are_told(folder):
    with pytest.raises(
        UnknownNameError,
        match=r"The file must be one that exists, but got 'work/nte_1.py'. Did you mean 'work/net_1.py'",
    ):
        find_named("work/nte_1.py:made")
    with pytest.raises(UnknownNameError, match=r"The name in work/net_1.py must be .* Did you mean 'workload'"):
        find_named("work/net_1.py:wokload")


def test_a_training_function_that_was_not_decorated_is_told_how(folder):
    (folder / "net_1.py").write_text("def train(run): pass")
    with pytest.raises(WorkloadError, match=r"decorate a training function: @lr_search.trainable\(num_steps=...\)"):
        find_workload("work/net_1.py:train")


def test_a_file_that_raises_is_told_where_and_can_be_mended(folder):
    (folder / "net_1.py").write_text("1 / 0")
    with pytest.raises(
        InvalidInputError, match=r"'work/net_1.py' must import, but it raised ZeroDivisionError.*net_1.py, line 1"
    ):
        find_named("work/net_1.py:made")
    (folder / "net_1.py").write_text("made = 4")
    assert find_named("work/net_1.py:made") == 4


def test_a_file_named_as_a_module_that_is_loaded_is_refused(folder):
    (folder / "random.py").write_text("made = 3")
    with pytest.raises(
        InvalidInputError, match=r"must have a name that no other module has, but there is another 'random'\. Rename"
    ):
        find_named("work/random.py:made")
