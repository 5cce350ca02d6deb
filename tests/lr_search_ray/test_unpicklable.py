"""What cannot be pickled is named by a path that its user knows, with the ways out."""

import sqlite3
import threading
from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import lr_search as lrs
from lr_search.errors import WorkloadError
from lr_search_ray.cluster.packing import packed
from lr_search_ray.cluster.unpicklable import unpicklable
from tests.helpers.processes import python, write
from tests.helpers.workloads import line

pytestmark = pytest.mark.ray


def refusal(**changes):
    """What is said of a workload that holds something that cannot be pickled."""
    with pytest.raises(WorkloadError) as caught:
        packed({"sgd": line(**changes)})
    rule, _, told = str(caught.value).partition(", but ")
    assert rule == "A workload must be one that can be pickled, to reach Ray's workers"
    return told


def holding(value):
    return lambda *arguments, **named: value


@dataclass
class Images(Dataset):
    file: object = None
    others: list = field(default_factory=list)

    def __len__(self):
        return 64

    def __getitem__(self, i):
        return torch.zeros(1), 0

    def batches(self):
        return self.others


@dataclass(frozen=True, slots=True)
class Slotted:
    name: str
    lock: object


class Gone:
    def __getstate__(self):
        raise ValueError("the server\nis gone")


class Rebuilt:
    def __init__(self, lock):
        self.lock = lock

    def __reduce__(self):
        return Rebuilt, (self.lock,)


class Names(dict):
    pass


@pytest.mark.parametrize(
    ("made", "where"),
    [
        (holding, "`value`"),
        (lambda lock: holding({"a": [1, {"b": (2, lock)}]}), "`value['a'][1]['b'][1]`"),
        (lambda lock: holding(Names(a=lock)), "`value['a']`"),
        (lambda lock: holding({lock}), "`value`"),
        (lambda lock: holding(Slotted("x", lock)), "`value.lock`"),
        (lambda lock: holding(Rebuilt(lock)), "`value.lock`"),
        (lambda lock: holding(Images(others=[0, lock])), "`value.others[1]`"),
        (lambda lock: Images(others=[lock]).batches, "`self.others[0]`"),
        (lambda lock: partial(lambda inner: lambda: inner, holding(lock))(), "`inner`, which holds `value`"),
        (lambda lock: lambda *, mine=lock: mine, "`mine`"),
        (lambda lock: partial(list, guard=lock), "`guard`"),
        (lambda lock: partial(holding(lock), 1), "`value`"),
        (lambda lock: holding(type("Mine", (), {"lock": lock})()), "`value`, which holds `Mine.lock`"),
    ],
)
def test_the_lock_is_found(made, where):
    told = refusal(train_data=made(threading.Lock()))
    assert told.startswith(
        f"workload.train_data holds {where} (_thread.lock), which cannot be pickled "
        "(TypeError: cannot pickle '_thread.lock' object). "
    )


@pytest.mark.parametrize("name", ["model", "optimizer", "loss", "valid_data", "test_data", "metrics", "param_groups"])
def test_the_workloads_attribute_is_named(name):
    assert refusal(**{name: holding(threading.Lock())}).startswith(
        f"workload.{name} holds `value` (_thread.lock), which"
    )


def test_without_a_name_of_its_own_the_attribute_is_said_to_be_it():
    told = refusal(train_data=partial(list, threading.Lock()))
    assert told.startswith("workload.train_data.args[0] (_thread.lock) cannot be pickled (TypeError: cannot")


def test_an_open_file_in_a_data_set_is_found(tmp_path):
    (tmp_path / "images").write_bytes(b"")
    with (tmp_path / "images").open("rb") as file:
        data = Images(file)
        assert "workload.train_data holds `data.file` (_io.BufferedReader), which" in refusal(train_data=lambda: data)
        usual = lrs.classification(model=nn.Identity, optimizer=torch.optim.SGD, train=data, valid=Images())
        with pytest.raises(
            WorkloadError, match=r"but workload\.train_data\.dataset\.file \(_io\.BufferedReader\) cannot"
        ):
            packed({"sgd": usual})


def test_connections_and_generators_are_found():
    connection = sqlite3.connect(":memory:")
    try:
        told = refusal(train_data=Images(connection).batches)
    finally:
        connection.close()
    assert "workload.train_data holds `self.file` (sqlite3.Connection), which" in told
    assert "workload.valid_data holds `self.file` (generator), which" in refusal(
        valid_data=Images(i for i in range(2)).batches
    )


def test_cycles_lead_nowhere():
    images = Images(others=[{}])
    images.others[0]["images"] = images  # fails as well, by what comes next
    images.others.append(threading.Lock())
    assert "holds `self.others[1]` (_thread.lock), which" in refusal(train_data=images.batches)


def test_a_chain_without_end_is_cut():
    deep = threading.Lock()
    for _ in range(40):
        deep = [deep]
    told = refusal(train_data=holding(deep))
    assert told.startswith("workload.train_data holds `value[0][0]")
    assert "...][0][0]" in told
    assert "` (list), which cannot be pickled" in told
    assert len(told) < 800


def test_many_names_are_cut():
    function = holding(threading.Lock())
    for _ in range(8):
        function = partial(holding, function)()
    assert f"holds {'`value`, which holds ' * 2}`...`, which holds `value`" in refusal(train_data=function)


def test_what_an_object_itself_says_is_told():
    assert refusal(train_data=holding(Gone())).startswith(
        f"workload.train_data holds `value` ({__name__}.Gone), which cannot be pickled (ValueError: the server is gone). "
    )


def test_what_can_be_pickled_is_no_culprit():
    assert unpicklable(Images(others=[holding(1)]), "images") is None


def test_of_several_optimizers_the_one_is_named():
    workloads = {"sgd": line(), "mine": line(optimizer=partial(torch.optim.SGD, foreach=threading.Lock()))}
    with pytest.raises(WorkloadError, match=r", but optimizers\['mine'\] holds `foreach` \(_thread\.lock\), which"):
        packed(workloads)


def test_the_ways_out_are_told():
    told = refusal(train_data=holding(threading.Lock()))
    assert "Make it inside the function: train_data() is called anew in every training, on the worker." in told
    assert 'RayExecutor(factory="pkg.mod:function")' in told
    assert "lr-search compare pkg.mod:function --executor ray" in told
    assert "notebook" not in told
    assert "inside the function: loss() is called on the worker." in refusal(loss=holding(threading.Lock()))


def test_of_a_notebook_cell_the_global_is_named_and_a_module_proposed():
    cell = {"__name__": "__main__", "get_ipython": object, "lock": threading.Lock(), "images": [1, 2], "sum": sum}
    exec("def train():\n    def read():\n        with lock:\n            return images\n    return read()", cell)
    told = refusal(train_data=cell["train"])
    assert told.startswith("workload.train_data holds `lock` (_thread.lock), which")
    assert (
        "Or move the function to a module: what a script or notebook cell defines is sent with all the globals" in told
    )


def test_a_global_that_is_not_named_is_not_sent():
    cell = {"__name__": "__main__", "lock": threading.Lock(), "images": [1, 2]}
    exec("def train():\n    return images.lock", cell)  # an attribute of that name
    packed({"sgd": line(train_data=cell["train"])}, checked=False)
    cell["images"] = threading.Lock()
    assert refusal(train_data=cell["train"]).startswith("workload.train_data holds `images` (_thread.lock), which")


SCRIPT = """
    import threading
    from torch import nn, optim
    import lr_search as lrs
    from lr_search_ray.cluster.packing import packed

    LOCK = threading.Lock()

    class Images:
        def batches(self):
            with LOCK:
                return []

    work = lrs.Workload(model=nn.Identity, optimizer=optim.SGD, loss=print, train_data=Images().batches, valid_data=list)
    try:
        packed({"sgd": work})
    except lrs.errors.WorkloadError as error:
        print(error)
"""


def test_of_a_script_the_global_is_named(tmp_path):
    told = python(tmp_path, write(tmp_path / "script.py", SCRIPT))
    assert "workload.train_data holds `self`, which holds `Images.batches`, which holds `LOCK` (_thread.lock)" in told
    assert "Or move the function to a module" in told
