"""What a comparison goes on with under its name, and what it refuses, in words."""

from functools import partial
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import InMemoryStorage
from torch import nn
from torch.utils.data import DataLoader

import lr_search as lrs
from lr_search.errors import FingerprintError
from lr_search.samplers.strategies import Strategy
from lr_search.storage.keys import PLAN
from tests.helpers.workloads import data, line, shuffled, squared_error

CmaEs, Tpe = optuna.samplers.CmaEsSampler, optuna.samplers.TPESampler


@pytest.fixture
def storage() -> InMemoryStorage:
    return InMemoryStorage()


def compared(storage: InMemoryStorage, workload: lrs.Workload | None = None, **changes: Any) -> lrs.Comparison:
    settings: dict[str, Any] = {
        "strategies": ["random"],
        "schedules": ["constant"],
        "budget": 1,
        "seeds": 1,
        "storage": storage,
        "name": "a",
        "progress": False,
    }
    return lrs.compare(workload or line(), **settings | changes)


def held(storage: InMemoryStorage) -> list[tuple[str, int]]:
    """The studies in the storage, and how many trials each has."""
    studies = optuna.get_all_study_summaries(storage)
    return sorted((study.study_name, study.n_trials) for study in studies)


def refused(storage: InMemoryStorage, workload: lrs.Workload | None = None, **changes: Any) -> str:
    """The words of a refusal that leaves the storage as it was."""
    before = held(storage)
    with pytest.raises(FingerprintError, match="goes on only with what it began with, but of 'a' ") as caught:
        compared(storage, workload, **changes)
    assert held(storage) == before
    return str(caught.value)


# ---- data ----


def relabelled() -> torch.Tensor:
    """The data with other labels in three of the first four batches."""
    batches = data().clone()
    batches[:3, :, 1] *= -1
    return batches


def late() -> list[torch.Tensor]:
    """The training data, other than the usual only after the first batch."""
    first, *rest = shuffled()
    return [first, *(batch + 1 for batch in rest)]


def test_other_validation_labels(storage: InMemoryStorage) -> None:
    compared(storage, line(valid_data=lambda: data()[:4]))
    told = refused(storage, line(valid_data=lambda: relabelled()[:4]))
    assert "the validation data differ: 3 of 4 batches. Give it another name" in told


def test_training_data_that_differ_after_the_first_batch(storage: InMemoryStorage) -> None:
    compared(storage)
    assert "the training data differ: 7 of 8 batches." in refused(storage, line(train_data=late))


def test_half_as_many_batches(storage: InMemoryStorage) -> None:
    compared(storage)
    told = refused(storage, line(valid_data=lambda: data()[:4]))
    assert "the validation data differ: 8 batches then, 4 batches now." in told


def test_test_data_that_are_added(storage: InMemoryStorage) -> None:
    compared(storage)
    assert "the test data differ: none then." in refused(storage, line(test_data=data))


def test_a_last_batch_that_is_shorter(storage: InMemoryStorage) -> None:
    inputs = torch.linspace(-1, 1, 256).reshape(-1, 2)  # 128 examples: 32 batches
    compared(storage, line(valid_data=partial(DataLoader, inputs, 4)))
    told = refused(storage, line(valid_data=partial(DataLoader, inputs[:126], 4)))
    assert "the validation data differ: 128 examples then, 126 examples now, and 1 of 18 batches." in told


# ---- what judges ----


def doubled(model: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"loss": 2 * squared_error(model, batch)}


def renamed(model: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"loss": squared_error(model, batch), "mae": torch.zeros(8)}


def test_another_metrics_function(storage: InMemoryStorage) -> None:
    compared(storage)
    assert "the untrained model's loss differs: " in refused(storage, line(metrics=doubled))
    assert "the metrics differ: loss then, loss, mae now" in refused(storage, line(metrics=renamed))


def test_what_differs_at_every_seed_is_told_once(storage: InMemoryStorage) -> None:
    compared(storage, seeds=3)
    assert refused(storage, line(metrics=doubled), seeds=3).count("the untrained model's loss differs: ") == 1


def test_another_combine(storage: InMemoryStorage) -> None:
    compared(storage, line(combine="mean"))
    assert "combine differs: mean then, none now" in refused(storage, line())
    compared(storage, line(combine=lambda outputs: outputs.mean(0)), name="b")
    with pytest.raises(FingerprintError, match=r"of 'b' combine differs"):
        compared(storage, line(combine=lambda outputs: outputs.amax(0)), name="b")


# ---- the optimizer ----


def halved(model: nn.Module, ratio: float = 0.5, **settings: float) -> list[dict[str, Any]]:
    weight, bias = model.parameters()
    return [{"params": [weight], "lr": 0.1}, {"params": [bias], "lr": 0.1 * ratio, **settings}]


def swapped(model: nn.Module) -> list[dict[str, Any]]:
    weight, bias = model.parameters()
    return [{"params": [bias], "lr": 0.1}, {"params": [weight], "lr": 0.05}]


def frozen() -> nn.Linear:
    model = nn.Linear(1, 1)
    model.bias.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"param_groups": partial(halved, ratio=0.25)}, "group 2's lr_ratio differs: 0.5 then, 0.25 now"),
        (
            {"param_groups": partial(halved, weight_decay=0.1)},
            "group 2's weight_decay differs: the optimizer's then, 0.1 now",
        ),
        ({"param_groups": swapped}, "the parameters in group 1 differ: others"),
        ({"param_groups": None}, "the optimizer's parameter groups differ: 2 then, 1 now"),
        (
            {"model": frozen},
            "the model differs: 2 parameters of 2 numbers, 0 frozen then, 2 parameters of 2 numbers, 1 frozen now",
        ),
        ({"optimizer": partial(torch.optim.SGD, momentum=0.9)}, "the optimizer's momentum differs: 0 then, 0.9 now"),
    ],
    ids=["ratio", "weight decay", "swapped", "one group", "frozen", "momentum"],
)
def test_other_parameter_groups(storage: InMemoryStorage, changes: dict[str, Any], words: str) -> None:
    compared(storage, line(param_groups=halved))
    assert words in refused(storage, line(**{"param_groups": halved, **changes}))


def test_a_lambda_of_other_betas_makes_no_second_set_of_studies(storage: InMemoryStorage) -> None:
    compared(storage, line(optimizer=torch.optim.Adam))
    other = line(optimizer=lambda params, lr: torch.optim.Adam(params, lr, betas=(0.8, 0.999)))
    assert "the optimizer's betas differ: (0.9, 0.999) then, (0.8, 0.999) now" in refused(storage, other)
    same = line(optimizer=lambda params, lr: torch.optim.Adam(params, lr))
    assert "the optimizer's name differs: 'Adam' then, 'optimizer' now" in refused(storage, same)
    assert len(compared(storage, same, optimizers={"Adam": same.optimizer}).trials) == 1  # goes on


# ---- strategies and schedules ----


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        (CmaEs, 3e-4, "CmaEsSampler then, lr=0.0003 now"),
        (Tpe, partial(Tpe, n_startup_trials=3), "TPESampler then, TPESampler(n_startup_trials=3) now"),
        (Tpe, Tpe(seed=1), "TPESampler then, a copy of TPESampler("),
        (lrs.samplers.GridSampler(4), lrs.samplers.GridSampler(5), "num_points=4) then"),
        ("grid", "random", "grid then, random now"),
        (
            Strategy("mine", lambda _: lrs.samplers.GridSampler(4)),
            Strategy("mine", lambda _: lrs.samplers.GridSampler(6)),
            "num_points=6) now",
        ),
    ],
    ids=["number", "settings", "seed", "grid", "name", "strategy"],
)
def test_a_strategys_name_that_means_another(storage: InMemoryStorage, then: Any, now: Any, words: str) -> None:
    compared(storage, strategies={"mine": then})
    told = refused(storage, strategies={"mine": now}, schedules=["triangular"])  # also where no study is the same
    assert "the strategy 'mine' differs: " in told
    assert words in told
    compared(storage, strategies={"mine": then}, schedules=["triangular"])


class Unnumbered(lrs.schedules.Constant):
    def describe(self) -> str:
        return "as it is"


def test_a_schedules_name_that_means_another_curve(storage: InMemoryStorage) -> None:
    compared(storage, schedules={"mine": Unnumbered})
    told = refused(storage, strategies=["grid"], schedules={"mine": lambda lr: Unnumbered(lr / 2)})
    assert "the schedule's curve differs" in told


# ---- whatever else is asked for at once ----


@pytest.mark.parametrize(
    "more", [{"strategies": ["grid"]}, {"seeds": [7]}, {"optimizers": {"sgd": torch.optim.SGD}}, {}], ids=str
)
def test_other_data_are_refused_with_more_strategies_seeds_or_optimizers_too(
    storage: InMemoryStorage, more: dict[str, Any]
) -> None:
    compared(storage)
    assert "the validation data differ: 3 of 8 batches" in refused(storage, line(valid_data=relabelled), **more)


@pytest.mark.parametrize(
    "more",
    [
        {"budget": 2},
        {"strategies": ["random", "grid"]},
        {"seeds": 2},
        {"seeds": [7]},
        {"schedules": ["sgdr"]},
        {"optimizers": ["sgd"]},
    ],
    ids=str,
)
def test_more_of_the_same_goes_on(storage: InMemoryStorage, more: dict[str, Any]) -> None:
    first = compared(storage).trials
    trials = compared(storage, **more).trials
    assert len(trials) > len(first)


def test_the_refusal_comes_before_the_plan_is_said(storage: InMemoryStorage, caplog: pytest.LogCaptureFixture) -> None:
    compared(storage)
    caplog.clear()
    refused(storage, line(valid_data=relabelled), progress=True)
    assert caplog.messages == []


def test_a_comparison_of_an_older_format_is_refused_and_read(storage: InMemoryStorage) -> None:
    compared(storage)
    (study,) = storage.get_all_studies()
    start = {
        "num_steps": 30,
        "optimizer": "SGD dampening=0",
        "initial weights": "1234",
        "first batch": "5678",
        "first loss": 3.5,
    }
    storage.set_study_user_attr(study._study_id, PLAN, {**study.user_attrs[PLAN], "format": 1, "fingerprint": start})
    words = r"'a' was stored by another version of lr_search \(format 1, this one writes 2\)\. load\(\)"
    with pytest.raises(FingerprintError, match=words):
        compared(storage)
    assert len(lrs.load(storage, "a").trials) == 1
    other = InMemoryStorage()
    compared(other, strategies=["grid"])
    assert len(lrs.load([(storage, "a"), (other, "a")]).trials) == 2
    assert len(compared(storage, fresh=True).trials) == 1
