"""Whether Ray Tune is there."""

from __future__ import annotations

import importlib

from lr_search.errors import MissingPackageError


def require_ray() -> None:
    """Import Ray Tune. Raises: MissingPackageError: it, or a package that it needs, is not installed."""
    try:
        importlib.import_module("ray.tune")
    except ImportError as error:
        raise MissingPackageError('lr_search_ray needs Ray Tune: pip install "lr-search[ray]".') from error
