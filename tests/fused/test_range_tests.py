"""The range tests of several seeds in one fused ramp: the curves that each seed by itself gives, to rounding."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset

import lr_search as lrs
from lr_search.fused import range_tests as fused_ramp
from lr_search.fused import support
from tests.helpers.workloads import data as line_data
from tests.helpers.workloads import line, shuffled, squared_error

RAMP: dict[str, Any] = {"start_lr": 1e-4, "num_steps": 60}


@pytest.fixture
def fuses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many seeds each fused ramp had."""
    ramps: list[int] = []
    run = fused_ramp._FusedRamp.run

    def noted(self: Any, *args: Any) -> list[lrs.LRCurve]:
        curves = run(self, *args)
        ramps.append(len(curves))
        return curves

    monkeypatch.setattr(fused_ramp._FusedRamp, "run", noted)
    return ramps


def wide(**layers: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(1, 8), *layers.values(), nn.Tanh(), nn.Linear(8, 1))


def require_same(workload: lrs.Workload, seeds: int = 3, **settings: Any) -> lrs.LRCurve:
    """Fused as one after the other: below the blow-up, where rounding stays small."""
    pooled = workload.range_test(seeds=seeds, **{**RAMP, **settings})
    for seed, curve in enumerate(pooled.members):
        alone = workload.range_test(seed, **{**RAMP, **settings})
        assert abs(len(curve.lr) - len(alone.lr)) <= 1
        sane = int(np.argmax(alone.loss > 2 * alone.loss[0])) or len(alone.lr)
        np.testing.assert_allclose(curve.loss[:sane], alone.loss[:sane], rtol=1e-3)
        assert set(curve.metrics) == set(alone.metrics)
        assert curve.optimizer == alone.optimizer
        for name in ("relative_update", "rms_update", "gradient_norm") if alone.metrics else ():
            np.testing.assert_allclose(curve.metrics[name][:sane], alone.metrics[name][:sane], rtol=5e-3)
        assert (curve.suggest().lr, curve.ramp) == (pytest.approx(alone.suggest().lr, rel=0.02), alone.ramp)
    return pooled


@pytest.mark.parametrize(
    "optimizer",
    [torch.optim.SGD, partial(torch.optim.SGD, momentum=0.9), torch.optim.Adam, torch.optim.ASGD],
    ids=["sgd", "momentum", "adam", "one optimizer a row"],
)
def test_the_curves_are_those_of_each_seed_alone(fuses: list[int], optimizer: Any) -> None:
    require_same(line(model=wide, optimizer=optimizer))
    assert fuses == [3]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": lambda: wide(norm=nn.BatchNorm1d(8))},
        {"model": wide, "clip_norm": 0.1},
        {"model": wide, "accumulate": 2},
    ],
    ids=["batch norm", "clipped", "accumulated"],
)
def test_so_they_are_with(fuses: list[int], changes: dict[str, Any]) -> None:
    require_same(line(**changes))
    assert fuses == [3]


def test_a_frozen_weight_counts_in_the_norms(fuses: list[int]) -> None:
    def frozen() -> nn.Module:
        model = wide()
        model.unused = nn.Parameter(torch.full((4,), 3.0))
        return model

    require_same(line(model=frozen))
    assert fuses == [3]


def test_a_seed_that_diverges_ends_alone(fuses: list[int]) -> None:
    pooled = require_same(line(), num_steps=60, end_lr=1e3)
    assert fuses == [3]
    assert {curve.stopped for curve in pooled.members} == {"diverged"}


def test_the_gain_ratio_is_that_of_a_quadratic(fuses: list[int]) -> None:
    # loss w^2 / 2 from w = 1, plain gradient descent: each step's ratio is 1 - lr / 2
    quadratic = line(model=One, loss=lambda model, batch: model.weight.square().sum() / 2)
    pooled = quadratic.range_test(seeds=2, start_lr=0.01, end_lr=0.5, num_steps=20, gain_ratio=True)
    assert fuses == [2]
    for curve in pooled.members:
        assert curve.gain_ratio is not None
        np.testing.assert_allclose(curve.gain_ratio, 1 - curve.lr / 2, rtol=1e-4)
    assert quadratic.range_test(seeds=2, gain_ratio=False, num_steps=20).gain_ratio is None


def test_each_seed_measures_at_the_steps_at_which_it_would_alone(fuses: list[int]) -> None:
    workload = line(model=wide)
    ramp = {"end_lr": 10.0, "num_steps": 100}
    pooled = workload.range_test(seeds=3, **ramp)
    assert fuses == [3]
    kept = [np.isfinite(curve.metrics["reduction"]) for curve in pooled.members]
    alone = [np.isfinite(workload.range_test(seed, **ramp).metrics["reduction"]) for seed in range(3)]
    for fused, by_itself in zip(kept, alone, strict=True):
        early = min(len(fused), len(by_itself)) // 2  # rounding tells them apart in the end
        np.testing.assert_array_equal(fused[:early], by_itself[:early])
    assert all(2 < kept.sum() < 0.9 * len(kept) for kept in kept)


def test_a_ramp_on_which_nothing_breaks_goes_on_for_each_seed_by_itself(fuses: list[int]) -> None:
    slow = line(model=wide, loss=lambda model, batch: 1e-4 * squared_error(model, batch))
    pooled = slow.range_test(seeds=2)
    assert fuses == [2]
    alone = [slow.range_test(seed) for seed in (0, 1)]
    assert [curve.lr[-1] > 10.0 for curve in alone] == [True, True]
    for member, by_itself in zip(pooled.members, alone, strict=True):
        np.testing.assert_array_equal(member.lr, by_itself.lr)
        np.testing.assert_array_equal(member.loss, by_itself.loss)


class One(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


def test_what_it_costs_is_charged_to_each(fuses: list[int]) -> None:
    workload = line(model=wide)
    fused = workload.range_test(seeds=2, num_steps=20, end_lr=1e-2)
    assert fuses == [2]
    assert fused.steps_charged == sum(workload.range_test(s, num_steps=20, end_lr=1e-2).steps_charged for s in (0, 1))


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"model": lambda: wide(drop=nn.Dropout(0.2))}, {}),
        ({"optimizer": torch.optim.LBFGS}, {"num_steps": 20, "gain_ratio": False}),
        ({}, {"valid_batches": 1}),
    ],
    ids=["draws random numbers", "closure", "validation"],
)
def test_what_cannot_be_fused_runs_one_after_the_other(
    fuses: list[int], changes: dict[str, Any], settings: dict[str, Any]
) -> None:
    workload = line(**{"model": wide, **changes})
    pooled = workload.range_test(seeds=2, **{**RAMP, **settings})
    assert fuses == []
    for seed, curve in enumerate(pooled.members):
        np.testing.assert_array_equal(curve.loss, workload.range_test(seed, **{**RAMP, **settings}).loss)


def test_a_ramp_that_may_be_extended_is_fused_where_it_need_not_be(fuses: list[int]) -> None:
    workload = line(model=wide)
    fused = workload.range_test(seeds=2, **{**RAMP, "extend": True})
    assert fuses == [2]
    for seed, curve in enumerate(fused.members):
        np.testing.assert_allclose(curve.loss, workload.range_test(seed, **{**RAMP, "extend": True}).loss, rtol=1e-4)


@pytest.mark.parametrize(
    "ends", [{"start_lr": 1e-6, "end_lr": 1e-4}, {"start_lr": 3.0, "end_lr": 30.0}], ids=["end", "start"]
)
def test_a_ramp_that_is_extended_runs_by_itself(ends: dict[str, float]) -> None:
    workload, settings = line(model=wide), {"num_steps": 20, "extend": True, **ends}
    pooled = workload.range_test(seeds=2, **settings)
    for seed, curve in enumerate(pooled.members):
        np.testing.assert_array_equal(curve.loss, workload.range_test(seed, **settings).loss)
        assert curve.lr[0] < ends["start_lr"] / 2 or curve.lr[-1] > 2 * ends["end_lr"]


def test_batches_of_other_shapes_by_seed_run_one_after_the_other(fuses: list[int]) -> None:
    def cut_anywhere() -> Iterator[torch.Tensor]:
        data = torch.randn(40, 2)
        where = int(torch.randint(5, 35, ()))
        yield from (data[:where], data[where:])

    workload = line(model=wide, train_data=cut_anywhere)
    pooled = workload.range_test(seeds=3, **RAMP)
    assert fuses == []
    np.testing.assert_array_equal(pooled.members[1].loss, workload.range_test(1, **RAMP).loss)


def test_an_error_of_the_workload_is_the_same_as_alone(fuses: list[int]) -> None:
    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return mse_loss(model(batch[:, :1]), batch[:, 1:]) * float("nan")

    with pytest.raises(lrs.errors.WorkloadError, match="The first loss must be finite"):
        line(model=wide, loss=loss).range_test(seeds=2, **RAMP)
    assert fuses == []


def test_the_global_random_state_is_left_alone(fuses: list[int]) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    line(model=wide).range_test(seeds=2, **RAMP)
    assert fuses == [2]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_seeds_are_divided_where_memory_does_not_hold_all(fuses: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_ramp, "fitting_width", lambda *_, **__: 2)
    assert len(line(model=wide).range_test(seeds=5, **RAMP).members) == 5
    assert fuses == [2, 2, 1]


def test_the_same_seeds_give_the_same_bits(fuses: list[int]) -> None:
    one, other = (line(model=wide).range_test(seeds=3, **RAMP) for _ in range(2))
    assert fuses == [3, 3]
    np.testing.assert_array_equal(one.loss, other.loss)


class Counted(Dataset[torch.Tensor]):
    """The line's examples, and how many were fetched; noisy ones draw random numbers."""

    def __init__(self, noise: float = 0.0) -> None:
        self.noise, self.fetched, self.rows = noise, 0, line_data().reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        self.fetched += 1
        return self.rows[index] + (self.noise * torch.randn(2) if self.noise else 0.0)


@pytest.mark.parametrize(
    ("noise", "settings", "walks"),
    [
        (0.0, {"shuffle": False}, 1),
        (0.0, {"shuffle": True}, 3),
        (0.0, {"shuffle": True, "generator": torch.Generator().manual_seed(5)}, 1),
        (0.1, {"shuffle": False}, 3),
    ],
    ids=["in order", "shuffled", "shuffled by a generator of its own", "noisy"],
)
def test_the_same_batches_are_fetched_once(
    fuses: list[int], noise: float, settings: dict[str, Any], walks: int
) -> None:
    examples = Counted(noise)
    workload = line(model=wide, train_data=lambda: DataLoader(examples, batch_size=8, **settings))
    ramp: dict[str, Any] = {"gain_ratio": False, "num_steps": 40, "end_lr": 1e-2}
    workload.range_test(seeds=3, **ramp)  # which tries it out
    examples.fetched = 0
    pooled = workload.range_test(seeds=3, **ramp)
    first_ones = 2 * 8 if walks == 1 else 0  # of the other seeds, to compare
    assert examples.fetched == walks * 40 * 8 + first_ones
    assert fuses == [3, 3]
    for seed, curve in enumerate(pooled.members):
        np.testing.assert_allclose(curve.loss, workload.range_test(seed, **ramp).loss, rtol=1e-3)


def test_data_that_draw_later_are_drawn_for_each_seed_from_there_on(fuses: list[int]) -> None:
    def late() -> Iterator[torch.Tensor]:
        for number, batch in enumerate([*line_data()] * 20):
            yield batch + 0.1 * torch.randn(2) if number >= 13 else batch

    require_same(line(model=wide, train_data=late))
    assert fuses == [3]


def test_a_workload_is_tried_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    support_of = support.support_of
    monkeypatch.setattr(support, "support_of", lambda *given: tried.append(1) or support_of(*given))
    layers = {"drop": nn.Identity()}
    workload = line(model=lambda: wide(**layers))
    for _ in range(2):
        workload.range_test(seeds=2, **RAMP)
    assert len(tried) == 1
    layers["drop"] = nn.Dropout(0.5)  # another kind of model
    workload.range_test(seeds=2, **RAMP)
    assert len(tried) == 2


@pytest.mark.parametrize(
    "packed",
    [lambda x: {"x": x[:, :1], "y": x[:, 1:]}, lambda x: (x[:, :1], [x[:, 1:]]), lambda x: (x[:, :1], x[:, 1:], 0.5)],
    ids=["dictionary", "nested", "a number"],
)
def test_batches_of_any_form(fuses: list[int], packed: Callable[[torch.Tensor], Any]) -> None:
    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        x, y, *weight = batch.values() if isinstance(batch, dict) else batch
        return mse_loss(model(x), y[0] if isinstance(y, list) else y) * (weight[0] if weight else 1.0)

    require_same(line(model=wide, loss=loss, train_data=lambda: [packed(each) for each in shuffled()]))
    assert fuses == [3]


def test_what_is_no_number_is_not_fused(fuses: list[int]) -> None:
    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        return mse_loss(model(batch[0][:, :1]), batch[0][:, 1:])

    workload = line(model=wide, loss=loss, train_data=lambda: [(each, "name") for each in shuffled()])
    assert len(workload.range_test(seeds=2, **RAMP).members) == 2
    assert fuses == []
