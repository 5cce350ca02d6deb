"""What distinguishes one comparison's trainings from those of another: settings, optimizer, weights, data, first loss and metrics."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lr_search.errors import WorkloadError
from lr_search.optimizers.call import optimizer_call
from lr_search.plain import plain_value
from lr_search.rng import preserved_rng, seed_everything
from lr_search.storage.fingerprints.differences import SETTINGS, UNTRAINED, part_differences
from lr_search.storage.fingerprints.function_print import function_start, steady_function_start
from lr_search.storage.fingerprints.optimizer_print import optimizer_print
from lr_search.storage.fingerprints.prints import FEWEST, pass_print, value_print
from lr_search.training.evaluation import evaluate
from lr_search.training.step import autocast, checked_loss
from lr_search.workloads.batches import first_batches, open_data, preserved_generators, rewind
from lr_search.workloads.combining import COMBINE, Combine
from lr_search.workloads.forms import GivenBatches
from lr_search.workloads.optimizer_forms import made_by_name
from lr_search.workloads.subject import Subject
from lr_search.workloads.trainable import Trainable
from lr_search.workloads.workload import Workload

OPTIMIZER_CALL = "optimizer_call"  # how the optimizer is made again: for the report, and never compared
OWN_OPTIMIZER = "own_optimizer"  # whether it is the workload's, and was not named beside it: compared by itself
FINGERPRINT_SECONDS = 1.0  # for all the batches that a comparison's fingerprints draw beyond the first 4 of each pass
DATA = ("train_data", "valid_data", "test_data")
Starts = dict[tuple[str, int], dict[str, Any]]


def fingerprints(workloads: Mapping[str, Subject], seeds: Sequence[int], *, own: bool = False) -> Starts:
    """The fingerprint of each optimizer and seed; the first is taken twice, to find out what comes out otherwise each time.

    Args:
        workloads: by the names of their optimizers.
        seeds: of the trainings.
        own: whether the optimizer is the workload's own.

    Raises:
        WorkloadError: it cannot be trained: no data, one batch only, no parameters, no scalar loss; or a factory gives something
            else each time it is called.
    """
    places = [(optimizer, seed) for optimizer in workloads for seed in seeds]
    seconds = FINGERPRINT_SECONDS / (len(DATA) * max(1, len(places)))
    unsteady: list[str] = []
    starts: Starts = {}
    for optimizer, seed in places:
        if not starts:
            start, unsteady = _steady_start(workloads[optimizer], seed, seconds)
        else:
            start = fingerprint(workloads[optimizer], seed, seconds=seconds)
        starts[optimizer, seed] = {**start, **dict.fromkeys(unsteady), OWN_OPTIMIZER: own}
    return starts


def further_fingerprints(starts: Starts, workloads: Mapping[tuple[str, int], Subject]) -> Starts:
    """The fingerprints of more trainings, without what came out otherwise each time in the first.

    Args:
        starts: the first.
        workloads: by the names of their optimizers and seeds.
    """
    first = next(iter(starts.values()))
    unsteady = {name: None for name in UNTRAINED if name in first and first[name] is None}
    return {place: {**fingerprint(workload, place[1]), **unsteady} for place, workload in workloads.items()}


def fingerprint(workload: Subject, seed: int, *, seconds: float = FINGERPRINT_SECONDS / len(DATA)) -> dict[str, Any]:
    """What a training of that seed starts from; it also finds out that the workload can be trained at all.

    Args:
        workload: what is trained.
        seed: of its weights and batches.
        seconds: after which no further batches of a pass are drawn, beyond the first 4. Only what both have is compared.

    Raises:
        WorkloadError: it cannot: no data, one batch only, no parameters, no scalar loss.
        Exception: whatever the user's code raises.
    """
    if isinstance(workload, Trainable):
        return function_start(workload, seed)
    assert isinstance(workload, Workload)
    return _measured(workload, seed, seconds)[0]


def _measured(workload: Workload, seed: int, seconds: float) -> tuple[dict[str, Any], list[weakref.ref[nn.Parameter]]]:
    """The fingerprint, and the parameters that would be trained."""
    device = workload.torch_device
    with preserved_rng(device):
        model, optimizer, batches = workload.begin(seed)
        start = {
            **{name: getattr(workload, name) for name in SETTINGS},
            "combine": _combine_print(workload.combine),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "optimizer": optimizer_print(model, optimizer),
            "model": _model_print(model),
            "metrics": plain_value(_first_metrics(workload, model, seed)),
            "loss": plain_value(_first_loss(workload, model, batches)),
            OPTIMIZER_CALL: optimizer_call(optimizer, model, made_by_name(workload.optimizer)),
        }
        batches.close()
        for name in DATA:
            source = getattr(workload, name)
            start[name] = None if source is None else pass_print(source, name, seed, seconds, model)
    return start, [weakref.ref(each) for each in model.parameters() if each.requires_grad]


def _steady_start(workload: Subject, seed: int, seconds: float) -> tuple[dict[str, Any], list[str]]:
    """The fingerprint, and what of it comes out otherwise each time though the factories give the same.

    Raises:
        WorkloadError: a factory gives something else when it is called again, or the same module.
    """
    if isinstance(workload, Trainable):
        return steady_function_start(workload, seed)
    assert isinstance(workload, Workload)
    start, held = _measured(workload, seed, seconds)
    again, held_again = _measured(workload, seed, 0.0)
    _require_new(held, held_again)
    for name in ("model", "optimizer", *DATA):
        if changes := part_differences(name, start, again, ("the first time", "the second")):
            raise WorkloadError(
                f"{name} must give the same each time it is called with the same seed, but {'; '.join(changes)}. Draw random numbers "
                "from the generators of torch, NumPy and Python, which are seeded before each call, or from generators of "
                f"its own with a seed that it makes anew: torch.Generator().manual_seed(0).{_as_given(workload, name)}"
            )
    return start, [name for name in UNTRAINED if part_differences(name, start, again)]


def _as_given(workload: Workload, name: str) -> str:
    given = isinstance(getattr(workload, name), GivenBatches)
    return (
        f" A loader that keeps more than such a generator from pass to pass must be made anew: {name}=lambda: ..."
        if given
        else ""
    )


def _require_new(held: Sequence[weakref.ref[nn.Parameter]], again: Sequence[weakref.ref[nn.Parameter]]) -> None:
    known = {id(parameter) for reference in held if (parameter := reference()) is not None}
    if known & {id(reference()) for reference in again}:
        raise WorkloadError(
            "model must make a new module each time it is called, but gave the same parameters twice: each training would go on with "
            "the weights of the one before. Build the module inside the function, or copy it there: copy.deepcopy(module)."
        )


def _model_print(model: nn.Module) -> dict[str, Any]:
    """Its parameters by name, and the weights and buffers that it begins with."""
    parameters = dict(model.named_parameters())
    frozen = [name for name, each in parameters.items() if not each.requires_grad]
    shapes = {name: [str(each.dtype), list(each.shape)] for name, each in parameters.items()}
    return {
        "parameters": len(parameters),
        "numbers": sum(each.numel() for each in parameters.values()),
        "frozen": len(frozen),
        "shapes": value_print([shapes, frozen])[0],
        "weights": value_print(
            {name: each for name, each in model.state_dict().items() if isinstance(each, torch.Tensor)}
        ),
    }


def _combine_print(combine: Combine | None) -> Any:
    """Its name; of a function also what it makes of some outputs, where it takes them."""
    if not callable(combine):
        return combine
    name = next((known for known, function in COMBINE.items() if function is combine), None)
    if name is not None:
        return name
    outputs = torch.linspace(-1.0, 2.0, 24).square().reshape(2, 4, 3)  # (members, examples, classes)
    try:
        return [plain_value(combine), value_print(combine(outputs))]
    except Exception:
        return [plain_value(combine)]


def _first_metrics(workload: Workload, model: nn.Module, seed: int) -> dict[str, float]:
    """The metrics of the untrained model over the first validation batches."""
    device = workload.torch_device
    with preserved_rng(device):
        seed_everything(seed)
        data = open_data(workload.valid_data, "valid_data", model)
        with preserved_generators(data) as loader_generators:
            rewind(loader_generators)
            first = first_batches(data, "valid_data", FEWEST)
            return evaluate(model, first, workload.metrics_or_loss, device, workload.precision)


def _first_loss(workload: Workload, model: nn.Module, batches: Iterator[Any]) -> float:
    batch = next(batches)
    with torch.enable_grad(), autocast(workload.torch_device, workload.precision):
        return float(checked_loss(workload.total_loss(model, batch)).detach())
