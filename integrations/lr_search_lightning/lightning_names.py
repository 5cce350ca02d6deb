"""Lightning, under either of its names: `lightning.pytorch` and `pytorch_lightning` are the same code with classes of its own each."""

from __future__ import annotations

import contextlib
import importlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from lr_search.errors import InvalidInputError, MissingPackageError, require

HOMES = ("lightning.pytorch", "pytorch_lightning")


def home_of(thing: Any, name: str, kind: str) -> str:
    """The package of which a thing is a `kind`: its Trainer or LightningModule.

    Raises:
        InvalidInputError: it is of neither.
    """
    for each in type(thing).__mro__:
        for home in HOMES:
            if each.__name__ == kind and each.__module__.startswith(f"{home}."):
                return home
    raise InvalidInputError(f"{name} must be a Lightning {kind}, but got {type(thing).__name__}.")


def installed_home() -> str:
    """The package to take where nothing says which. Raises: MissingPackageError: neither is installed."""
    for home in HOMES:
        try:
            importlib.import_module(home)
        except ImportError:
            continue
        return home
    raise MissingPackageError('lr_search_lightning needs Lightning: pip install "lr-search[lightning]".')


def lightning_object(home: str, module: str, name: str) -> Any:
    """What a module of that package calls so: `lightning_object(home, "loggers.logger", "DummyLogger")`."""
    return getattr(importlib.import_module(f"{home}.{module}"), name)


Callback: Any = lightning_object(installed_home(), "callbacks", "Callback")


@contextlib.contextmanager
def without_advice(home: str) -> Iterator[None]:
    """Inside, Lightning gives no advice: it gives it at every fit, of which a comparison has many."""
    logger = logging.getLogger(home)
    advice = lightning_object(home, "utilities.warnings", "PossibleUserWarning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", advice)
            warnings.filterwarnings("ignore", module=r"(lightning|pytorch_lightning)\.")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def ctrl_c() -> Iterator[None]:
    """Inside a fit is interrupted as any code: Lightning makes a SystemExit of Ctrl-C, and leaves the next one without effect."""
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        if in_main:
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def overridden(module: Any, home: str, names: tuple[str, ...]) -> list[str]:
    """Those of its methods that are the user's own, not Lightning's."""
    base = lightning_object(home, "core.module", "LightningModule")
    return [name for name in names if getattr(type(module), name) is not getattr(base, name)]


def require_data(module: Any, datamodule: Any, home: str) -> None:
    """Refuse a fit without training data."""
    own = "train_dataloader" in vars(module) or overridden(module, home, ("train_dataloader",))
    require(
        datamodule is not None or bool(own),
        "the fit must have training data",
        "Give a LightningDataModule, or the module a train_dataloader().",
        datamodule=datamodule,
    )
