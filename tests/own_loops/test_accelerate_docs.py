"""What docs/trainers.md prints for Accelerate works as printed."""

import pytest
import torch
from torch import nn

import lr_search as lrs
from tests.test_readme import printed_with

pytestmark = pytest.mark.trainers


def test_the_loop_is_a_trial(tmp_path, monkeypatch):
    from accelerate import Accelerator

    def make_training():
        model = nn.Linear(2, 1)
        return (
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            torch.utils.data.DataLoader(torch.randn(64, 2), batch_size=2),
        )

    def loss_of(model, batch):
        return (model(batch) - batch.sum(1, keepdim=True)).square().mean()

    def evaluate(model):
        with torch.no_grad():
            return loss_of(model, torch.eye(2))

    monkeypatch.chdir(tmp_path)
    names = {
        "lrs": lrs,
        "Accelerator": Accelerator,
        "make_training": make_training,
        "loss_of": loss_of,
        "evaluate": evaluate,
    }
    exec(printed_with("accelerator.prepare(*make_training())").replace("budget=4", "budget=2, seeds=1"), names)
    trials = names["comparison"].trials
    assert set(trials["steps"][trials["outcome"] == "finished"]) == {80}
