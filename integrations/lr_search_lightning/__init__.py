"""lr_search within Lightning: the range test of a module, and comparisons whose trials are your own fits.

`range_test(trainer, module, datamodule)` gives a curve, `Trainer(callbacks=[RangeTest()])` sets the LR before the first step, and
`compare(make_module, datamodule, trainer=lambda: Trainer(...), monitor="val_loss")` compares strategies and schedules.

Names are imported on first use: Lightning takes seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lr_search_lightning.fit_comparison import compare
    from lr_search_lightning.module_range_test import range_test
    from lr_search_lightning.range_test_callback import RangeTest

__all__ = ["RangeTest", "compare", "range_test"]

_HOMES = {"RangeTest": "range_test_callback", "compare": "fit_comparison", "range_test": "module_range_test"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lr_search_lightning' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lr_search_lightning.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
