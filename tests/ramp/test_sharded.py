"""Models whose weights are DTensors, as FSDP2 and tensor parallelism make them: tested, trained and compared as plain ones."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import InvalidInputError
from lr_search.fused.support import support_of
from lr_search.schedules import Constant
from lr_search.training.step import Stepper

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")


@pytest.fixture(scope="module")
def mesh():
    """Of this process alone."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        yield torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    finally:
        torch.distributed.destroy_process_group()


def plain_net():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.fixture(params=["fsdp", "tensor parallel"])
def sharded_net(request, mesh):
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("needs FSDP2")
    from torch.distributed.tensor import parallel

    def make():
        net = plain_net()
        if request.param == "fsdp":
            fsdp.fully_shard(net[0], mesh=mesh)
            return fsdp.fully_shard(net, mesh=mesh)
        plan = {"0": parallel.ColwiseParallel(), "2": parallel.RowwiseParallel()}
        return parallel.parallelize_module(net, mesh, plan)

    return make


@pytest.fixture
def batches(examples):
    return [(examples[0][i : i + 8], examples[1][i : i + 8]) for i in range(0, 48, 8)]


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.1)


def weights(model):
    return {
        name: each.full_tensor().tolist() if hasattr(each, "full_tensor") else each.tolist()
        for name, each in model.state_dict().items()
    }


OPTIONS = [{}, {"clip_norm": 0.5, "accumulate": 2}, {"valid": True}, {"extend": True, "metrics": True}]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_curve_is_that_of_the_plain_model_and_all_is_put_back(
    sharded_net, batches, cross_entropy, seed_all, options
):
    def ran(make):
        seed_all(0)
        model = make()
        optimizer = adam(model)
        before = weights(model)
        given = {**options}
        given |= {"metrics": lambda model, batch: {"again": cross_entropy(model, batch)}} if "metrics" in given else {}
        given |= {"valid_data": batches} if given.pop("valid", False) else {}
        given |= {"gain_ratio": False} if make is plain_net else {}
        curve = lrs.range_test(model, optimizer, batches, cross_entropy, end_lr=1.0, num_steps=20, **given)
        assert weights(model) == before
        assert not optimizer.state
        return curve

    sharded, plain = ran(sharded_net), ran(plain_net)
    np.testing.assert_allclose(sharded.loss, plain.loss, rtol=1e-4)
    assert sharded.gain_ratio is None
    for name in sharded.metrics:
        np.testing.assert_allclose(sharded.metrics[name], plain.metrics[name], rtol=1e-4)


def test_a_gain_ratio_that_was_asked_for_is_refused_before_the_first_step(sharded_net, batches):
    calls = []
    model = sharded_net()
    with pytest.raises(
        InvalidInputError, match=r"of plain tensors, but the weights are of type DTensor, .* Leave gain_r"
    ):
        lrs.range_test(model, adam(model), batches, lambda *both: calls.append(both), gain_ratio=True)
    assert not calls


def test_after_a_pass_without_gradients_which_leaves_weights_gathered(sharded_net, batches, cross_entropy):
    model = sharded_net()
    optimizer = adam(model)
    with torch.no_grad():
        model(batches[0][0])
    assert lrs.range_test(model, optimizer, batches, cross_entropy, end_lr=1e-3, num_steps=20).stopped == "finished"
    cross_entropy(model, batches[0]).backward()
    optimizer.step()


def test_it_is_trained_saved_and_compared_as_the_plain_model(sharded_net, make_workload):
    def trained(make):
        training = lrs.train(make_workload(model=make), Constant(0.1))
        first = [next(training), next(training)]
        other = lrs.train(make_workload(model=make), Constant(0.1))
        other.load_state_dict(training.state_dict())
        rest = list(training)
        assert [each.metrics for each in other] == [each.metrics for each in rest]
        return [each.metrics["loss"] for each in first + rest]

    assert trained(sharded_net) == pytest.approx(trained(plain_net), rel=1e-4)

    def compared(make, executor=None):
        comparison = lrs.compare(
            make_workload(model=make), strategies=["grid"], schedules=["constant"], budget=2, seeds=1, storage=None,
            lr_range=(1e-3, 1e-1), executor=executor,
        )  # fmt: skip
        return comparison.trials[["lr", "objective", "state"]]

    pd.testing.assert_frame_equal(compared(sharded_net), compared(plain_net), rtol=1e-4)
    assert "plain tensors as weights, but got DTensor" in support_of(make_workload(model=sharded_net), 0).reason


def test_an_exception_on_outputs_that_are_not_finite_ends_the_range_test(sharded_net, batches, cross_entropy):
    def checked(model, batch):
        value = cross_entropy(model, batch)
        if value > 20:
            raise ValueError("too large")
        if not value.isfinite():
            raise ValueError("not finite")
        return value

    model = sharded_net()
    stepper = Stepper(model, adam(model), checked, torch.device("cpu"))
    stepper.step(iter(batches), 0.1)
    assert stepper.is_finite()
    assert stepper.is_finite(iter(batches))
    with torch.no_grad():
        next(model.parameters()).mul_(float("nan"))
    assert not stepper.is_finite()
    with pytest.raises(ValueError, match="too large"):
        lrs.range_test(sharded := sharded_net(), adam(sharded), batches, checked, end_lr=1e4, num_steps=20)
