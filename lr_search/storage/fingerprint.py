"""What distinguishes one comparison's trainings from those of another: settings, initial weights, first batch and first loss."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import torch

from lr_search.errors import FingerprintError, WorkloadError
from lr_search.optimizers.call import optimizer_call
from lr_search.rng import preserved_rng
from lr_search.training.step import autocast, checked_loss
from lr_search.workloads.batches import length, open_data, tensors
from lr_search.workloads.workload import Workload

TOLERANCE = 1e-4  # relative, on the first loss: other thread counts and devices round otherwise
OPTIMIZER_CALL = "optimizer_call"  # how the optimizer is made again: for the report, and never compared
SETTINGS = ("num_steps", "eval_every", "accumulate", "clip_norm", "precision", "objective", "direction", "batch_size")


def fingerprint(workload: Workload, seed: int) -> dict[str, Any]:
    """What a training of that seed starts from; it also finds out that the workload can be trained at all.

    Raises:
        WorkloadError: it cannot: no data, one batch only, no parameters, no scalar loss.
        Exception: whatever the user's code raises.
    """
    device = workload.torch_device
    with preserved_rng(device):
        model, optimizer, batches = workload.begin(seed)
        weights = _digest(model.state_dict().values())
        batch = next(batches)
        batches.close()
        with torch.enable_grad(), autocast(device, workload.precision):
            loss = float(checked_loss(workload.loss(model, batch)).detach())
        if length(open_data(workload.valid_data, "valid_data")) == 0:
            raise WorkloadError(
                "valid_data must give batches, but got none. Check the data set's length and drop_last."
            )
    return {
        **{name: getattr(workload, name) for name in SETTINGS},
        "optimizer": f"{type(optimizer).__name__} {_plain(optimizer.defaults)}",
        "initial weights": weights,
        "first batch": _digest(tensors(batch)),
        "first loss": loss,
        OPTIMIZER_CALL: optimizer_call(optimizer, model),
    }


def check_fingerprint(name: str, recorded: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    """Refuse to go on with a study that trained something else.

    Raises:
        FingerprintError: they differ; the message says in what.
    """
    differing = differences(recorded, present)
    if not differing:
        return
    changes = "; ".join(f"{key} was {recorded.get(key)!r}, is {present[key]!r}" for key in differing)
    raise FingerprintError(
        f"A comparison goes on only with what it began with, but got another workload or setting for {name!r}: {changes}. "
        "Give it another name, or start over with fresh=True (--fresh)."
    )


def differences(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """The names in `present` whose values `recorded` has otherwise; losses may differ by `TOLERANCE`."""
    return [key for key in present if not _same(recorded.get(key), present[key])]


def _same(recorded: Any, present: Any) -> bool:
    if isinstance(recorded, float) and isinstance(present, float):
        both_bad = not math.isfinite(recorded) and not math.isfinite(present)
        return both_bad or math.isclose(recorded, present, rel_tol=TOLERANCE, abs_tol=1e-9)
    return bool(recorded == json.loads(json.dumps(present)))


def _plain(defaults: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(defaults.items()) if key != "lr")


def _digest(values: Any) -> str:
    """A short hash of tensors' shapes and bits."""
    digest = hashlib.sha256()
    for tensor in values:
        if isinstance(tensor, torch.Tensor):
            plain = tensor.detach().cpu().contiguous()
            digest.update(str((plain.dtype, tuple(plain.shape))).encode())
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return digest.hexdigest()[:16]
