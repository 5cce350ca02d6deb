"""What a Trainer must be like, said before anything is trained."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lr_search.errors import MissingPackageError, require

if TYPE_CHECKING:
    from transformers import Trainer


def require_transformers() -> None:
    """Raises: MissingPackageError: Transformers, or the Accelerate that its Trainer needs, is not installed."""
    for package in ("transformers", "accelerate"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingPackageError(
                f'lr_search_transformers needs {package.title()}: pip install "lr-search[transformers]".'
            ) from error


def require_one_process(trainer: Trainer) -> None:
    """Raises: InvalidInputError: the Trainer shards or copies its model over processes or devices."""
    args = trainer.args
    engine = "DeepSpeed" if trainer.is_deepspeed_enabled or args.deepspeed else None
    engine = "FSDP" if trainer.is_fsdp_enabled or args.fsdp else engine
    require(
        engine is None,
        "the Trainer must train without DeepSpeed and FSDP, which shard the weights and the optimizer",
        "Search on one device with a smaller model or batch, or call lrs.range_test with your own loop.",
        got=engine,
    )
    devices = max(args.world_size, args.n_gpu)
    require(
        devices <= 1,
        "the Trainer must train on one device",
        "Start one process, with CUDA_VISIBLE_DEVICES=0; trials run side by side under RayExecutor.",
        devices=devices,
    )


def require_untrained(trainer: Trainer) -> None:
    """Raises: InvalidInputError: the Trainer has trained, or has nothing to train on."""
    require(
        trainer.state.global_step == 0 and not trainer.is_in_train,
        "the Trainer must not have trained yet: its model and optimizer would go on from there",
        "Make a new Trainer, and search before trainer.train().",
        global_step=trainer.state.global_step,
    )
    require(
        trainer.train_dataset is not None,
        "the Trainer must have a train_dataset",
        "Trainer(..., train_dataset=...).",
        train_dataset=trainer.train_dataset,
    )
