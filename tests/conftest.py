"""Small things to train, shared by the tests. Everything runs on the CPU unless a test says otherwise."""

import importlib
import inspect
import io
import os
import random
import sys

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from typer.testing import CliRunner

import lr_search as lrs
from lr_search.cli import app
from lr_search.report import page_parts
from tests.helpers import postgresql
from tests.helpers.bowl import compare_in_bowl
from tests.helpers.marks import group_of, needs_of, wanted

collect_ignore_glob = ["helpers/*"]  # they have no tests, and import what those need that ask for them
pytest.register_assert_rewrite("optuna.testing.pytest_samplers")

torch.set_num_threads(1)  # the nets are tiny, and threads that spin for each other are slow on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same for what the tests start
# Ray's workers are nice to all others: they would wait for the tests beside them
os.environ.setdefault("RAY_worker_niceness", "0")

WITHOUT_A_GPU = pytest.mark.skip(reason="needs a CUDA device")
# what torch says of a thread's first matrix product, and mends by itself
ON_A_GPU = pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS, but there was no current CUDA context")

# what is asked for, and where it runs


def pytest_ignore_collect(collection_path, config):
    """Leaves out files of which `-m` wants nothing: importing what they need takes longer than the other tests' collection."""
    if collection_path.suffix == ".py" and collection_path.name.startswith("test_"):
        needs = needs_of(collection_path)
        return True if needs and not wanted(config.option.markexpr, needs) else None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Side by side, the tests of a file run in one process, and so do all that share a server. Without a GPU, those for one are skipped."""
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(
                f"ids must be the same in every process (tests/helpers/case_ids.py), but got {item.nodeid}."
            )
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
        if item.get_closest_marker("gpu"):
            item.add_marker(ON_A_GPU if torch.cuda.is_available() else WITHOUT_A_GPU)


@pytest.fixture
def seed_all():
    """Seeds the three global generators, in the test's own words."""

    def seed(value):
        random.seed(value)
        np.random.seed(value)  # noqa: NPY002
        torch.manual_seed(value)

    return seed


@pytest.fixture
def global_rng():
    """Reads the three global generators, as values that can be compared."""

    def state():
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002
        return random.getstate(), kind, keys.tolist(), rest, torch.get_rng_state().tolist()

    return state


@pytest.fixture
def examples():
    """60 examples (inputs (60, 6), classes (60,)) that a small net can learn."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 6, generator=generator)
    return inputs, (inputs @ torch.randn(6, 3, generator=generator)).argmax(1)


@pytest.fixture
def dropout_net():
    """A factory of nets that draw random numbers and have buffers."""

    def make():
        return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))

    return make


@pytest.fixture
def cross_entropy():
    def loss(model, batch):
        inputs, classes = batch
        return nn.functional.cross_entropy(model(inputs), classes)

    return loss


@pytest.fixture
def make_workload(examples, dropout_net, cross_entropy):
    """Workloads of 7 shuffled batches of 8 a pass, with dropout and momentum; keywords change anything."""
    data = TensorDataset(*examples)

    def make(**changes):
        settings = {
            "model": dropout_net,
            "optimizer": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
            "loss": cross_entropy,
            "train_data": lambda: DataLoader(data, batch_size=8, shuffle=True, drop_last=True),
            "valid_data": lambda: DataLoader(data, batch_size=25, shuffle=True),
            "num_steps": 20,
            "eval_every": 5,
            "device": "cpu",
        }
        return lrs.Workload(**(settings | changes))

    return make


@pytest.fixture
def constant():
    """A constant schedule; its LR can be given."""
    return lambda lr=0.05: lrs.schedules.by_name("constant", lr=lr, num_steps=1)


@pytest.fixture
def weights():
    """A copy of a model's parameters and buffers, by name."""

    def copy(model):
        return {name: value.detach().clone() for name, value in (*model.named_parameters(), *model.named_buffers())}

    return copy


@pytest.fixture
def same_bits():
    """Whether two dicts of tensors hold the same names and bits; -0.0 is not 0.0, and nan is nan."""

    def compare(one, other):
        return one.keys() == other.keys() and all(
            one[name].dtype == other[name].dtype
            and one[name].detach().numpy().tobytes() == other[name].detach().numpy().tobytes()
            for name in one
        )

    return compare


@pytest.fixture
def trained(weights):
    """Trains to the end. Returns: the training, its evaluations and its final weights."""

    def run(workload, schedule, **options):
        training = lrs.train(workload, schedule, **options)
        evaluations = list(training)
        return training, evaluations, weights(training.model)

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that is the current one; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def cli(folder):
    """Runs `lr-search` in this process, in `folder`: it must end with that exit code and without a traceback."""

    def run(*arguments, code=0):
        importlib.invalidate_caches()
        apart = inspect.signature(CliRunner).parameters.keys() & {"mix_stderr"}  # an older click mixes unless told
        result = CliRunner(**dict.fromkeys(apart, False)).invoke(app, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert "Traceback" not in result.output
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def quick_pictures(request, monkeypatch):
    """A report's figures are drawn, but saved as a dot: they take most of a report's time. In a run of every test they are real."""
    if request.config.option.markexpr:
        dot = io.BytesIO()
        Figure(figsize=(0.1, 0.1)).savefig(dot, format="png")
        monkeypatch.setattr(page_parts, "png", lambda figure: dot.getvalue())
        monkeypatch.setattr(page_parts, "svg", lambda figure: b"<svg xmlns='http://www.w3.org/2000/svg'/>")


@pytest.fixture(scope="session")
def bowl_storage(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('bowl') / 'bowl.db'}"


@pytest.fixture(scope="session")
def bowl_comparison(bowl_storage):
    """Grid, range test and a fixed LR, two schedules and two seeds, over a range whose upper end diverges."""
    return compare_in_bowl(bowl_storage)


@pytest.fixture(scope="session")
def postgresql_server():
    """A PostgreSQL server, for all tests that need one."""
    if postgresql.programs() is None:
        pytest.skip(postgresql.PACKAGE)
    with postgresql.running_server() as server:
        yield server


@pytest.fixture(scope="module")
def shared_ray(_stop_ray):
    """One Ray of 4 CPUs, 2 GPUs and an a100, on paper: for all tests that need one and nothing special of it."""
    from tests.helpers import on_ray

    on_ray.start_ray()
    with on_ray.quiet():
        yield


@pytest.fixture(scope="module")
def no_ray():
    """None is running in this process."""
    from tests.helpers import on_ray

    on_ray.stop_ray()


@pytest.fixture(scope="session")
def _stop_ray():
    yield
    from tests.helpers import on_ray

    on_ray.stop_ray()
