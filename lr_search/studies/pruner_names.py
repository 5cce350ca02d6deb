"""Optuna's pruners by name, and the package that one of them needs beside Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import optuna
from optuna.pruners import BasePruner, MedianPruner, PatientPruner, PercentilePruner

from lr_search.errors import InvalidInputError, MissingPackageError, quoted, unknown_name

# with Optuna's default settings, or those of the examples in its documentation where it has none
PRUNER_NAMES: dict[str, Callable[[], BasePruner]] = {
    "hyperband": optuna.pruners.HyperbandPruner,
    "median": MedianPruner,
    "nop": optuna.pruners.NopPruner,
    "patient": lambda: PatientPruner(MedianPruner(), patience=1),
    "percentile": lambda: PercentilePruner(25.0),
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "wilcoxon": optuna.pruners.WilcoxonPruner,
}


def pruner_by_name(name: str) -> BasePruner:
    """A new pruner of that name.

    Args:
        name: in any case, with _ or - or neither: "median", "successive-halving", "SuccessiveHalving".

    Raises:
        UnknownNameError: there is none of that name.
        InvalidInputError: it is Optuna's ThresholdPruner, for which no bound suits every objective.

    >>> type(pruner_by_name("median")).__name__
    'MedianPruner'
    """
    plain = _plain(name)
    if plain == "threshold":
        raise InvalidInputError(
            f"The pruner must be one that needs no bound, but got {quoted(name)}. Bounds are given in Python: "
            "compare(..., pruner=optuna.pruners.ThresholdPruner(upper=2.0))."
        )
    make_pruner = next((factory for known, factory in PRUNER_NAMES.items() if _plain(known) == plain), None)
    if make_pruner is None:
        raise unknown_name("pruner", name, [*PRUNER_NAMES, "auto", "none"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # asked for by name
        return make_pruner()


def require_pruner_packages(pruner: BasePruner) -> None:
    """Find out before the first trial. Raises: MissingPackageError: what the pruner needs is not installed."""
    if isinstance(pruner, optuna.pruners.WilcoxonPruner) and find_spec("scipy") is None:
        raise MissingPackageError("WilcoxonPruner needs scipy: pip install scipy")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").removesuffix("pruner")
