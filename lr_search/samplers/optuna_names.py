"""Optuna's samplers by name, and the packages that some of them need beside Optuna."""

from __future__ import annotations

from importlib.util import find_spec

import optuna
from optuna.samplers import BaseSampler

from lr_search.errors import MissingPackageError

# they need arguments, or (BruteForce) a parameter with a few values
NOT_BY_NAME = ("BaseSampler", "BaseGASampler", "BruteForceSampler", "GridSampler", "PartialFixedSampler")
NEEDS = {"CmaEsSampler": "cmaes", "GPSampler": "scipy", "QMCSampler": "scipy"}
NAMES = {  # by the first word of its class
    kind.removesuffix("Sampler").lower(): kind
    for kind in optuna.samplers.__all__
    if kind.endswith("Sampler") and kind not in NOT_BY_NAME
}


def sampler_class(name: str) -> type[BaseSampler] | None:
    """Optuna's sampler of that name, or None.

    Args:
        name: of the class, with or without the last word, in any case: "TPESampler", "cmaes", "CMA-ES".

    >>> sampler_class("CMA-ES").__name__
    'CmaEsSampler'
    """
    kind = NAMES.get(name.lower().replace("-", "").removesuffix("sampler"))
    return None if kind is None else getattr(optuna.samplers, kind)


def require_packages(kind: type[BaseSampler]) -> None:
    """Find out before the first trial. Raises: MissingPackageError: what the sampler needs is not installed."""
    for name in (each.__name__ for each in kind.__mro__):
        package = NEEDS.get(name)
        if package is not None and find_spec(package) is None:
            raise MissingPackageError(f"{name} needs {package}: pip install {package}")
