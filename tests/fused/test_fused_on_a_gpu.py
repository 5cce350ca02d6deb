"""Trainings that are fused come out as each by itself, on a GPU as on the CPU: under dropout, attention, convolutions and bf16."""

import warnings

import pytest
import torch
from torch import nn

import lr_search as lrs
from tests.helpers.comparing import TAME, compared, require_same
from tests.helpers.devices import DEVICES
from tests.helpers.fused_cases import CLASSES, FEATURES, convolutions, dropouts, mlp, workload

TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}


def attention():
    """Four tokens of four features."""
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Unflatten(1, (4, 4)), layer, nn.Flatten(), nn.Linear(FEATURES, CLASSES))


MODELS = {
    "mlp": mlp,
    "dropout": dropouts,
    "convolutions, batch norm": convolutions(lambda: nn.BatchNorm2d(4)),
    "attention": attention,
}


@pytest.fixture(autouse=True)
def full_precision():
    """No TF32, which convolutions take by themselves, and whose last bits are others in another kernel."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    set_tf32(False, False)
    yield
    set_tf32(*before)


def set_tf32(convolutions, products):
    with warnings.catch_warnings(action="ignore"):  # newer versions of torch have other names as well
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", MODELS)
def test_the_answers_are_those_of_one_by_one(name, device):
    work = workload(MODELS[name], device=device)
    settings = {"budget": 6, **TAME, "lr_range": (1e-3, 0.05)}
    fused, alone = (
        compared(work, executor, **settings) for executor in (lrs.FusedExecutor(width=4), lrs.LocalExecutor())
    )
    require_same(fused, alone, TOLERANCE["fp32"])


@pytest.mark.parametrize("device", DEVICES)
def test_in_bf16_they_are_close(device):
    work = workload(device=device, precision="bf16")
    settings = {"budget": 4, **TAME, "lr_range": (1e-3, 0.05)}
    fused, alone = (
        compared(work, executor, **settings) for executor in (lrs.FusedExecutor(width=4), lrs.LocalExecutor())
    )
    for one, other in zip(fused.trials["loss"], alone.trials["loss"], strict=True):
        assert one == pytest.approx(other, rel=TOLERANCE["bf16"])
