"""The CIFAR example: the data it reads, the paper's numbers in it, and the whole script on a few images."""

import importlib.util
import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).parents[3] / "examples" / "clr_cifar.py"
LABELS = {"cifar10": ["label"], "cifar100": ["fine_label", "coarse_label"]}  # the hub's columns beside img
CLASSES = {"label": 10, "fine_label": 100, "coarse_label": 20}


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("clr_cifar", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Hugging Face's packages in this process, without a network and with their cache in a folder of the test's."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")  # where it was imported before

    def refuse(*args):
        raise AssertionError(f"nothing may be fetched, but {args[1:]} was")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return datasets


@pytest.fixture
def made(tmp_path):
    """Writes a set's parquet files. Returns: the folder, and split -> (images (n, 32, 32, 3), column -> classes (n,))."""

    def make(dataset, train=12, test=6):
        generator, folder, splits = np.random.default_rng(0), tmp_path / dataset, {}
        folder.mkdir()
        for split, count in (("train", train), ("test", test)):
            images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
            classes = {column: generator.integers(0, CLASSES[column], count) for column in LABELS[dataset]}
            splits[split] = images, classes
            half = count // 2  # two files: the hub splits large sets so
            for i, part in enumerate((slice(0, half), slice(half, count))):
                write(
                    folder / f"{split}-{i:05}-of-00002.parquet", images[part], {c: y[part] for c, y in classes.items()}
                )
        return folder, splits

    return make


def write(path, images, classes):
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": png(image), "path": None} for image in images], type=struct)
    pq.write_table(pa.table({"img": column, **{name: pa.array(y) for name, y in classes.items()}}), path)


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def assert_read(read, splits, label):
    assert len(read) == 2
    for (images, classes), (wanted_images, wanted_classes) in zip(read, (splits["train"], splits["test"]), strict=True):
        assert images.dtype == torch.uint8
        assert classes.dtype == torch.int64
        np.testing.assert_array_equal(images.numpy(), wanted_images.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(classes.numpy(), wanted_classes[label])


@pytest.mark.parametrize(("dataset", "label"), [("cifar10", "label"), ("cifar100", "fine_label")])
def test_images_and_classes_come_back_exactly(example, offline, made, dataset, label):
    folder, splits = made(dataset)
    assert_read(example.read(dataset, folder), splits, label)


@pytest.mark.parametrize(("dataset", "label"), [("cifar10", "label"), ("cifar100", "fine_label")])
def test_without_a_folder_the_hub_is_asked(example, offline, made, monkeypatch, dataset, label):
    folder, splits = made(dataset)
    images = {"img": offline.Image()}  # the hub's files say so themselves
    files = {split: str(folder / f"{split}-*.parquet") for split in splits}
    held = offline.load_dataset("parquet", data_files=files)
    held = held.cast(offline.Features({**held["train"].features, **images}))
    monkeypatch.setattr(offline, "load_dataset", {f"uoft-cs/{dataset}": held}.__getitem__)
    assert_read(example.read(dataset), splits, label)


def test_without_datasets_it_says_what_to_install(example, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SystemExit, match=r'needs Hugging Face datasets: pip install "lr-search\[cifar\]"'):
        example.read("cifar10")


def test_a_folder_without_the_files_is_told(example, offline, made):
    folder, _ = made("cifar10")
    for file in folder.glob("test-*"):
        file.unlink()
    with pytest.raises(
        SystemExit, match=r"--data must be a folder of train-\*.parquet and test-\*.parquet, but got .*cifar10"
    ):
        example.read("cifar10", folder)


def test_datasets_is_imported_for_reading_only():
    code = f"import sys, runpy; runpy.run_path({str(SCRIPT)!r}); sys.exit('datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The paper's sections 3.3 and 4.1.1 and table 2; Caffe's cifar10_full_solver, _lr1 and _lr2.
PAPER = {
    "fixed": (70_000, {0: 1e-3, 59_999: 1e-3, 60_000: 1e-4, 64_999: 1e-4, 65_000: 1e-5, 69_999: 1e-5}),
    "triangular2": (
        25_000,
        {0: 1e-3, 2_000: 5e-3, 4_000: 1e-3, 6_000: 3e-3, 10_000: 2e-3, 14_000: 1.5e-3}  # halved from cycle to cycle
        | {16_000: 1e-4, 17_000: 5e-4, 18_000: 1e-4, 19_000: 3e-4, 22_000: 1e-5, 22_500: 5e-5, 24_500: 2e-5},
    ),
    "decay": (25_000, {0: 7e-3, 2_000: 4e-3, 4_000: 1e-3, 24_999: 1e-3}),
    "exp": (70_000, {0: 1e-3, 10_000: 1e-3 * 0.99994**10_000}),
    "exp_range": (42_000, {0: 1e-3, 2_000: 6e-3 * 0.99994**2_000, 4_000: 1e-3 * 0.99994**4_000}),
}
ACCURACY = {"fixed": 81.4, "triangular2": 81.4, "decay": 78.5, "exp": 79.1, "exp_range": 82.2}  # table 1


@pytest.mark.parametrize("scale", [1.0, 0.01])
@pytest.mark.parametrize("name", PAPER)
def test_the_policies_are_the_papers(example, name, scale):
    num_steps, lrs = PAPER[name]
    accuracy, found, peak, layout = example.policies(scale)[name]
    assert (accuracy, found) == (ACCURACY[name], num_steps * scale)
    steps = [step for step in lrs if step * scale == round(step * scale)]
    np.testing.assert_allclose(layout(peak)([step * scale for step in steps]), [lrs[step] for step in steps], rtol=1e-9)
    np.testing.assert_allclose(layout(2 * peak)(1), 2 * layout(peak)(1))


def test_the_triangular2_of_the_paper_ends_with_a_cycle(example):
    _, num_steps, peak, layout = example.policies()["triangular2"]
    assert layout(peak).cycle_ends(num_steps) == [
        4_000,
        8_000,
        12_000,
        16_000,
        18_000,
        20_000,
        22_000,
        23_000,
        24_000,
        25_000,
    ]


def test_cifar10_full_is_caffes(example):
    torch.manual_seed(0)
    net = example.caffe_full(torch.full((3, 32, 32), 100.0))
    layers = [layer for layer in net if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in layers] == [
        (32, 3, 5, 5),
        (32, 32, 5, 5),
        (64, 32, 5, 5),
        (10, 1024),
    ]
    assert not any(layer.bias.any() for layer in layers)
    for layer, std in zip(layers, (0.0001, 0.01, 0.01, 0.01), strict=True):
        assert float(layer.weight.detach().std()) == pytest.approx(std, rel=0.05)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(net[0](images), images.float() - 100)
    shapes = [tuple(net[: i + 1](images).shape[1:]) for i, layer in enumerate(net) if "Pool" in type(layer).__name__]
    assert shapes == [(32, 16, 16), (32, 8, 8), (64, 4, 4)]
    assert net(images).shape == (2, 10)


def test_the_norm_within_a_channel_is_caffes(example):
    x = np.random.default_rng(0).normal(scale=200, size=(2, 3, 5, 4))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    squares = sum(padded[:, :, i : i + 5, j : j + 4] ** 2 for i in range(3) for j in range(3))
    np.testing.assert_allclose(example.NormWithinChannel()(torch.tensor(x)), x / (1 + 5e-5 / 9 * squares) ** 0.75)


def test_caffes_multipliers_reach_their_parameters(example):
    net = example.caffe_full(torch.zeros(3, 32, 32))
    optimizer = torch.optim.SGD(example.caffe_groups(net), lr=1.0, weight_decay=0.004)
    found = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    conv1, conv2, conv3, ip1 = (layer for layer in net if isinstance(layer, nn.Conv2d | nn.Linear))
    wanted = [(1, 0.004), (2, 0.004), (1, 0.004), (2, 0.004), (1, 0.004), (1, 0.004), (1, 1.0), (2, 0.0)]
    parameters = [p for layer in (conv1, conv2, conv3, ip1) for p in (layer.weight, layer.bias)]
    assert [found[id(p)] for p in parameters] == wanted
    assert len(found) == len(list(net.parameters()))


def test_the_seven_convolutions_see_standardised_images(example):
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    channels = images.double().transpose(0, 1).flatten(1)
    net = example.seven_convolutions(channels.mean(1).reshape(3, 1, 1), channels.std(1).reshape(3, 1, 1)).double()
    seen = net[0](images).transpose(0, 1).flatten(1)
    torch.testing.assert_close((seen.mean(1), seen.std(1)), (torch.zeros(3).double(), torch.ones(3).double()))
    assert [layer.out_channels for layer in net if isinstance(layer, nn.Conv2d)] == [64, 64, 128, 128, 256, 256, 256]
    assert net(images).shape == (4, 100)


def run(tmp_path, *arguments):
    """Runs the script from the folder above its data, offline; warnings are errors there too."""
    offline = {
        "HF_HOME": str(tmp_path / "home"),
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-W", "error", str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **offline}, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(printed=done.stdout, out=tmp_path / "out")


def test_cifar10_from_end_to_end(made, tmp_path):
    made("cifar10", train=40)
    options = ("--steps", 50, "--budget", 2, "--batch-size", 4, "--out", "out")
    done = run(tmp_path, "cifar10", "--data", "cifar10", *options)
    assert "learning rate" in done.printed
    table = pd.read_csv(done.out / "table_1.csv").set_index("policy")
    assert table["paper"].to_dict() == ACCURACY
    assert table["steps"].to_dict() == {"fixed": 140, "triangular2": 50, "decay": 50, "exp": 140, "exp_range": 84}
    assert table["here"].between(0, 100).all()
    trials = pd.read_csv(done.out / "cifar10" / "trials.csv")
    assert set(trials["schedule"]) == {"constant", "triangular2", "exp_range"}
    assert set(trials["strategy"]) == {"0.001", "0.006", "range_test"}


def test_cifar100_from_end_to_end(made, tmp_path):
    made("cifar100", train=20)
    options = ("--steps", 8, "--budget", 5, "--batch-size", 4, "--out", "out")
    done = run(tmp_path, "cifar100", "--data", "cifar100", *options)
    assert "learning rate" in done.printed
    trials = pd.read_csv(done.out / "cifar100" / "trials.csv")
    fixed = trials[trials["strategy"] != "range_test"]
    assert sorted(fixed["lr"]) == sorted([1e-1, 1e-3, 3e-4, 6.25e-5] * 2)
    assert set(trials["schedule"]) == {"constant", "triangular2"}
    assert set(trials["optimizer"]) == {"Adam"}
    assert (done.out / "cifar100" / "report.html").exists()
