"""Two optimizers with a loss each, on data made of the model, on one of Ray's workers, with a checkpoint at each evaluation."""

import pandas as pd
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search_ray import RayExecutor
from tests.helpers.on_ray import TIMES
from tests.helpers.shapes import ppo_loss, ppo_workload

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.usefixtures("shared_ray")]


def two(model: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    value = [*model.value.parameters()]
    others = [each for name, each in model.named_parameters() if "value" not in name]
    return [torch.optim.Adam(others, lr), torch.optim.SGD(value, lr / 2, momentum=0.9)]


def test_trials_on_ray_give_what_they_give_here() -> None:
    workload = ppo_workload(optimizer=two, loss=[ppo_loss, ppo_loss])
    settings = {
        "strategies": ["grid"],
        "schedules": ["constant"],
        "budget": 2,
        "seeds": 1,
        "storage": None,
        "progress": False,
    }
    executor = RayExecutor(max_concurrent_trials=1, checkpoint_seconds=0.0)
    comparisons = [lrs.compare(workload, **settings), lrs.compare(workload, executor=executor, **settings)]
    frames = [each.trials.drop(columns=TIMES) for each in comparisons]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
