"""Under DistributedDataParallel and FSDP2 every process ends the ramp at the same step, judged by the mean of their losses."""

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

import lr_search as lrs
from lr_search.errors import WorkloadError

PROCESSES = 2
KINDS = ("plain", "diverging", "nan", "not repeating")


class Weight(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, target):
        self.calls += 1
        return ((self.weight - target) ** 2).sum() / 2


def loss_of(kind, rank):
    calls = []

    def loss(model, target):
        value = model(target)
        if torch.is_grad_enabled():
            calls.append(1)
        if rank == 1 and kind == "diverging":
            value = value + 1.5 ** len(calls)  # so does the mean, while the other's falls
        if rank == 1 and kind == "nan" and len(calls) == 15:
            value = value * float("nan")
        if rank == 1 and kind == "not repeating":
            value = value + torch.is_grad_enabled()
        return value

    return loss


def range_tests(rank, folder):
    """One of each kind. Writes the curves, the targets, and the weights and buffers afterwards."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=PROCESSES)
    torch.manual_seed(rank)
    targets = list(0.5 * torch.randn(20, 3, dtype=torch.float64) + rank)
    model = nn.parallel.DistributedDataParallel(Weight())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    try:
        for kind in KINDS:
            curve = lrs.range_test(
                model, optimizer, targets, loss_of(kind, rank), start_lr=1e-3, end_lr=10.0, num_steps=60,
                metrics=lambda model, target: {"rank": float(rank)},
            )  # fmt: skip
            curve.save(f"{folder}/{kind}{rank}.json")
        sharded_range_test(rank, folder, targets)
        torch.save((targets, model.module.weight.tolist(), model.module.calls.item()), f"{folder}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


def sharded_range_test(rank, folder, targets):
    """FSDP2's weights are split: 2 numbers in the first process, 1 in the second. Writes the curve and what compare says."""
    from torch.distributed.fsdp import fully_shard

    model = fully_shard(Weight())
    options = {"start_lr": 1e-3, "end_lr": 10.0, "num_steps": 60}
    curve = lrs.range_test(
        model, torch.optim.SGD(model.parameters(), lr=0.1), targets, loss_of("diverging", rank), **options
    )
    curve.save(f"{folder}/sharded{rank}.json")
    assert model.weight.full_tensor().tolist() == [1.0] * 3
    workload = lrs.Workload(
        model=lambda: fully_shard(Weight()), optimizer=torch.optim.SGD, loss=loss_of("plain", rank), num_steps=20,
        train_data=lambda: targets, valid_data=lambda: targets,
    )  # fmt: skip
    with pytest.raises(WorkloadError, match=r"is trained by 2 processes together\. Call lrs\.range_test there"):
        lrs.compare(workload, storage=None)


def curve_by_hand(lrs_of_steps, targets):
    """The mean loss of the two processes before each step along their mean gradient."""
    weight, losses = np.ones(3), []
    for step, lr in enumerate(lrs_of_steps):
        batches = [each[step % 20].numpy() for each in targets]
        losses.append(np.mean([((weight - batch) ** 2).sum() / 2 for batch in batches]))
        weight = weight - lr * (weight - np.mean(batches, axis=0))
    return losses


@pytest.mark.processes
def test_all_processes_have_the_same_curve_of_the_mean_loss(tmp_path):
    mp.spawn(range_tests, args=(str(tmp_path),), nprocs=PROCESSES)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    targets = [each[0] for each in found]
    assert [each[1:] for each in found] == [([1.0] * 3, 0.0)] * 2  # as they were
    curves = {}
    for kind in KINDS:
        both = [lrs.LRCurve.load(tmp_path / f"{kind}{rank}.json") for rank in range(PROCESSES)]
        curves[kind] = both[0]
        assert str(both[0].to_json()) == str(both[1].to_json())  # as text: nan is not equal to nan
        assert both[0].metrics["rank"] == pytest.approx(0.5)
    assert {kind: curve.stopped for kind, curve in curves.items()} == {
        "plain": "diverged", "diverging": "diverged", "nan": "non_finite", "not repeating": "diverged",
    }  # fmt: skip
    assert len(curves["nan"].loss) == 14
    assert len(curves["diverging"].loss) < len(curves["plain"].loss)
    assert curves["not repeating"].gain_ratio is None
    sharded = [lrs.LRCurve.load(tmp_path / f"sharded{rank}.json") for rank in range(PROCESSES)]
    assert (
        sharded[0].loss.tolist()
        == sharded[1].loss.tolist()
        == pytest.approx(curves["diverging"].loss.tolist(), rel=1e-9)
    )
    for kind in ("plain", "nan"):
        curve = curves[kind]
        assert curve.loss == pytest.approx(curve_by_hand(curve.lr, targets), rel=1e-9)
        assert curve.gain_ratio is not None
        measured = np.isfinite(curve.gain_ratio)
        assert measured.sum() >= 5
        by_hand = 1 - curve.lr[measured] / 2  # of the mean loss along the mean gradient
        assert curve.gain_ratio[measured] == pytest.approx(by_hand, abs=1e-9)
