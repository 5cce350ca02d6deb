"""A model or a loss that keeps its state in attributes is trained by itself: several at once would share it."""

import pytest
import torch

from lr_search.fused.support import support_of
from tests.helpers.keeping_models import MODELS, Centred, first_four


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("recurrent", "model.hidden, which"),
        ("attributes", "model.appeared, model.averaged, model.by_name, model.calls, model.centre, "),
    ],
)
def test_a_model_that_keeps_its_state_in_attributes(make_workload, kind, named):
    reason = support_of(make_workload(model=MODELS[kind], loss=first_four, optimizer=torch.optim.SGD), 0).reason
    assert f"a model that keeps its state in buffers, but got {named}" in reason


def test_a_loss_with_a_running_centre_which_the_try_out_leaves_alone(make_workload):
    criterion = Centred()
    workload = make_workload(loss=lambda model, batch: criterion(model(batch[0]), batch[1]))
    assert "the loss's criterion.calls, the loss's criterion.centre, which a step" in support_of(workload, 0).reason
    assert (criterion.calls, criterion.centre.tolist()) == (0, [0, 0, 0])
