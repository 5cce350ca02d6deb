"""Learning rates within skorch: a range test before a net's training, and a schedule during it.

    from lr_search_skorch import RangeTest, Schedule

    net = NeuralNetClassifier(..., callbacks=[RangeTest(), Schedule("cosine")])

Names are imported on first use: importing this package loads neither skorch nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lr_search_skorch.skorch_range_test import RangeTest
    from lr_search_skorch.skorch_schedule import Schedule

__all__ = ["RangeTest", "Schedule"]

_HOMES = {"RangeTest": "skorch_range_test", "Schedule": "skorch_schedule"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lr_search_skorch' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lr_search_skorch.{_HOMES[name]}"), name)
