"""packed and unpacked: workloads reach the workers, by value or built by a factory there."""

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from lr_search_ray.cluster.packing import packed, unpacked
from tests.helpers import command_line
from tests.helpers.processes import python, write
from tests.helpers.workloads import line

pytestmark = pytest.mark.ray

LOCKED = """
import threading

def guarded(batches):
    lock = threading.Lock()
    return lambda: (batches(), lock)[0]

def work(**changes):
    return replace(good, train_data=guarded(good.train_data), **changes)
"""


def losses(workload):
    schedule = lrs.schedules.by_name("constant", lr=0.1, num_steps=workload.num_steps)
    return [evaluation.metrics["loss"] for evaluation in lrs.train(workload, schedule, seed=0)]


@pytest.fixture
def module(folder):
    """Makes a module in the current folder and imports it. Returns: it, and its name."""

    def make(code="", name="work"):
        called = command_line.write(folder, code, name)
        sys.path.insert(0, str(folder))
        __import__(called)
        return sys.modules[called], called

    return make


@pytest.fixture
def forgotten(folder):
    """Takes a module away, as on a worker that never had it."""

    def forget(name):
        del sys.modules[name]
        (folder / f"{name}.py").unlink()

    return forget


def test_what_arrives_trains_to_the_same_bits():
    bias = torch.tensor(0.5)
    workload = line(model=lambda: nn.Linear(1, 1), loss=lambda model, batch: ((model(batch[:, :1]) - bias) ** 2).mean())
    assert losses(unpacked(packed({"sgd": workload}))["sgd"]) == losses(workload)


def test_what_the_workloads_share_is_sent_once_and_can_be_written_to():
    images = np.zeros(10**6)
    workloads = {
        name: line(optimizer=partial(torch.optim.SGD, momentum=momentum), train_data=lambda: images)
        for name, momentum in (("slow", 0.5), ("fast", 0.9))
    }
    data = packed(workloads, checked=False)
    assert len(data) < 1.1 * images.nbytes
    arrived = unpacked(data)
    assert arrived["slow"].train_data() is arrived["fast"].train_data()
    assert [arrived[name].optimizer.keywords["momentum"] for name in ("slow", "fast")] == [0.5, 0.9]
    arrived["slow"].train_data()[0] = 1  # a read-only array would raise


def test_a_factory_builds_on_the_worker_what_cannot_be_pickled(module, folder):
    work, name = module(LOCKED)
    workload = work.work(num_steps=7)
    with pytest.raises(WorkloadError, match=r"workload\.train_data holds `lock`"):
        packed({"sgd": workload})
    (folder / "packed").write_bytes(packed({"sgd": workload}, f"{name}:work"))
    worker = """
        from pathlib import Path
        from lr_search_ray.cluster.packing import unpacked
        from tests.lr_search_ray.test_packing import losses
        print(losses(unpacked(Path("packed").read_bytes())["sgd"]))
    """
    assert python(folder, write(folder / "worker.py", worker)).strip() == str(losses(workload))


def test_of_the_factory_are_the_functions_and_of_the_comparison_the_settings(module):
    work, name = module(LOCKED)
    momenta = {"slow": 0.5, "fast": 0.9}
    workloads = {
        each: work.work(optimizer=partial(torch.optim.SGD, momentum=momentum), eval_every=3)
        for each, momentum in momenta.items()
    }
    arrived = unpacked(packed(workloads, f"{name}:work"))
    assert {each: found.optimizer.keywords["momentum"] for each, found in arrived.items()} == momenta
    assert {found.eval_every for found in arrived.values()} == {3}
    assert arrived["slow"].train_data is arrived["fast"].train_data
    assert arrived["slow"].train_data is not workloads["slow"].train_data


def test_the_one_optimizer_comes_from_the_factory_where_it_cannot_be_sent(module):
    work, name = module(
        """
        import threading

        mine = replace(good, optimizer=lambda params, lr, lock=threading.Lock(): torch.optim.SGD(params, lr))
        """
    )
    arrived = unpacked(packed({"mine": work.mine}, f"{name}:mine"))
    assert arrived["mine"].optimizer is work.mine.optimizer
    with pytest.raises(WorkloadError, match=r"optimizers\['mine'\] holds `lock`") as caught:
        packed({"sgd": work.good, "mine": work.mine}, f"{name}:good")
    assert "factory" not in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("__main__:work", r"factory must be in a module that the workers can import, but got '__main__:work'\. Move"),
        ("no_such_module:work", "there is no 'no_such_module'"),
        ("tests.helpers.workloads:liner", "Did you mean 'line'"),
        ("tests.helpers.workloads", r"pkg\.mod:name or path/file\.py:name, but got 'tests\.helpers\.workloads'"),
    ],
)
def test_a_factory_that_is_none_is_refused_at_once(factory, told):
    with pytest.raises(InvalidInputError, match=told):
        packed({"sgd": line()}, factory)


def test_a_factory_must_build_the_same_each_time(module):
    work, name = module(
        """
        def drawn():
            x = torch.rand(64, 1)
            return lrs.regression(model=lambda: nn.Linear(1, 1), optimizer=torch.optim.SGD, train=(x, x[:, 0]), valid=(x, x[:, 0]))
        """
    )
    with pytest.raises(
        WorkloadError, match=r"the training data differ: 2 of 2 batches; .* and draw random numbers"
    ) as caught:
        unpacked(packed({"sgd": work.drawn()}, f"{name}:drawn"))
    assert str(caught.value).startswith(f"{name}:drawn must build the workload that is compared")


def test_a_factory_of_another_workload_is_found_out(module):
    _, name = module()
    with pytest.raises(
        WorkloadError,
        match=r"the training data differ: 8 batches where it was started, 4 batches there, and 4 of 4 batches",
    ):
        unpacked(packed({"sgd": line()}, f"{name}:good"))


def test_data_that_are_others_on_a_worker_are_found_out(module):
    work, _ = module("shift = 0\ndef train():\n    return [batch + shift for batch in torch.ones(4, 8, 2)]\n")
    data = packed({"sgd": line(train_data=work.train)})
    assert list(unpacked(data)) == ["sgd"]
    work.shift = 1
    told = r"the same on every node, but on \S+ the training data differ: 4 of 4 batches\."
    with pytest.raises(WorkloadError, match=told):
        unpacked(data)


# what a worker cannot read


def test_a_module_that_a_worker_lacks_is_named_with_the_remedy(module, forgotten):
    work, name = module("def train():\n    return good.train_data()\n")
    sent = packed({"sgd": line(train_data=work.train)}, checked=False)
    built = packed({"sgd": work.good}, f"{name}:good")
    forgotten(name)
    for data in (sent, built):
        with pytest.raises(
            WorkloadError, match=f"there is no module '{name}' on .*working_dir.*--working-dir .*install"
        ):
            unpacked(data)


def test_code_that_differs_on_a_worker_is_told(module, folder):
    work, name = module("def train():\n    return good.train_data()\n")
    data = packed({"sgd": line(train_data=work.train)}, checked=False)
    del sys.modules[name].train
    with pytest.raises(WorkloadError, match=r"AttributeError: .*'train'.*\. The code must be the same there\. Send"):
        unpacked(data)


def test_a_factory_that_fails_on_a_worker_is_told(module):
    work, name = module("def build():\n    return good")
    data = packed({"sgd": work.good}, f"{name}:build")
    work.build = lambda: open("images.bin")  # noqa: SIM115
    with pytest.raises(WorkloadError, match=r"build\(\) must return a workload, but it raised FileNotFoundError"):
        unpacked(data)


@pytest.mark.parametrize("error", [SystemExit, StopIteration, FileNotFoundError])
def test_what_the_factory_builds_fails_on_a_worker(module, error):
    def model():
        raise error("weights.pt")

    work, name = module("def build():\n    return good")
    data = packed({"sgd": work.good}, f"{name}:build")
    work.good = replace(work.good, model=model)
    with pytest.raises(WorkloadError, match=f"{error.__name__}: weights.pt"):
        unpacked(data)


def test_another_version_of_lr_search_is_refused(monkeypatch):
    data = packed({"sgd": line()})
    monkeypatch.setattr(lrs, "__version__", "9.9")
    with pytest.raises(WorkloadError, match=r"but got 0\.\S+ where the comparison was started and 9\.9 on "):
        unpacked(data)


def test_tensors_on_a_gpu_that_a_worker_lacks_are_told(monkeypatch):
    if torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    images = torch.zeros(4)
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        data = packed({"sgd": line(train_data=lambda: images)}, checked=False)
    with pytest.raises(
        WorkloadError, match=r"tensors must be on a device that the worker has, .*CUDA.*Leave the data on the CPU"
    ):
        unpacked(data)


def test_a_loader_a_criterion_and_a_module_reach_the_workers_as_they_are():
    data = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.arange(64) % 2)
    loader = torch.utils.data.DataLoader(data, 8, shuffle=True, generator=torch.Generator().manual_seed(5))
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))
    workload = lrs.Workload(
        model=nn.Linear(4, 2), optimizer=torch.optim.SGD, loss=weighted, train_data=loader, valid_data=loader, num_epochs=2,
        eval_every=8, device="cpu",
    )  # fmt: skip
    there = unpacked(packed({"SGD": workload}))["SGD"]
    assert losses(there) == losses(workload)
    assert (there.num_steps, workload.num_steps) == (16, 16)
