"""The LR and schedule of a Transformers `Trainer`: a range test on it, and a comparison whose trials are Trainers like it.

Names are imported on first use, so that importing this package loads neither torch nor Transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lr_search_transformers.hf_checks import require_transformers

if TYPE_CHECKING:
    from lr_search_transformers.hf_best import BestTraining, best
    from lr_search_transformers.hf_compare import compare
    from lr_search_transformers.hf_range_test import range_test

__all__ = ["BestTraining", "best", "compare", "range_test"]

_HOMES = {"BestTraining": "hf_best", "best": "hf_best", "compare": "hf_compare", "range_test": "hf_range_test"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lr_search_transformers' has no attribute {name!r}")
    require_transformers()
    return getattr(importlib.import_module(f"lr_search_transformers.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
