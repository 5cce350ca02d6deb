"""Learning rates within Keras 3 on torch: a range test before a model's training, and a schedule during it.

    from lr_search_keras import RangeTest, Schedule  # KERAS_BACKEND=torch

    model.fit(x, y, epochs=20, callbacks=[RangeTest(x, y), Schedule("cosine")])

Names are imported on first use: importing this package loads neither Keras nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lr_search_keras.keras_range_test import RangeTest
    from lr_search_keras.keras_schedule import Schedule

__all__ = ["RangeTest", "Schedule"]

_HOMES = {"RangeTest": "keras_range_test", "Schedule": "keras_schedule"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lr_search_keras' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lr_search_keras.{_HOMES[name]}"), name)
