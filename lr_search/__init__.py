"""Give it what you train; it says which learning rate and which schedule to train it with, and what finding out cost.

Names are imported on first use, so that `import lr_search` and the command line start at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lr_search import controllers, errors, optimizers, samplers, schedules
    from lr_search.comparison.compare import compare
    from lr_search.comparison.comparison import Comparison
    from lr_search.comparison.loading import load
    from lr_search.curves import suggest
    from lr_search.curves.curve import LRCurve
    from lr_search.curves.prior import LRPrior
    from lr_search.curves.suggest import Suggestion
    from lr_search.curves.training_plan import Plan
    from lr_search.ensembles.averaging import average_weights
    from lr_search.ensembles.ensemble import SnapshotEnsemble
    from lr_search.errors import Stop
    from lr_search.executors import FusedExecutor, LocalExecutor
    from lr_search.own_loops.training_run import TrainingRun
    from lr_search.ramp.range_test import range_test
    from lr_search.ramp.refinding import Refinding, refind
    from lr_search.results.recommendation import Recommendation
    from lr_search.scaling.told import Transfer
    from lr_search.scaling.transfer import transfer
    from lr_search.training.branching import Branch, branches
    from lr_search.training.evaluation import Evaluation
    from lr_search.training.training import Training, train
    from lr_search.workloads.supervised import classification, regression
    from lr_search.workloads.trainable import Trainable, trainable
    from lr_search.workloads.workload import Workload

__all__ = [
    "Branch",
    "Comparison",
    "Evaluation",
    "FusedExecutor",
    "LRCurve",
    "LRPrior",
    "LocalExecutor",
    "Plan",
    "Recommendation",
    "Refinding",
    "SnapshotEnsemble",
    "Stop",
    "Suggestion",
    "Trainable",
    "Training",
    "TrainingRun",
    "Transfer",
    "Workload",
    "__version__",
    "average_weights",
    "branches",
    "classification",
    "compare",
    "controllers",
    "errors",
    "load",
    "optimizers",
    "range_test",
    "refind",
    "regression",
    "samplers",
    "schedules",
    "suggest",
    "train",
    "trainable",
    "transfer",
]

_HOMES = {
    "Branch": "training.branching",
    "Comparison": "comparison.comparison",
    "Evaluation": "training.evaluation",
    "FusedExecutor": "executors",
    "LRCurve": "curves.curve",
    "LRPrior": "curves.prior",
    "LocalExecutor": "executors",
    "Plan": "curves.training_plan",
    "Recommendation": "results.recommendation",
    "Refinding": "ramp.refinding",
    "SnapshotEnsemble": "ensembles.ensemble",
    "Stop": "errors",
    "Suggestion": "curves.suggest",
    "Trainable": "workloads.trainable",
    "Training": "training.training",
    "TrainingRun": "own_loops.training_run",
    "Transfer": "scaling.told",
    "Workload": "workloads.workload",
    "average_weights": "ensembles.averaging",
    "branches": "training.branching",
    "classification": "workloads.supervised",
    "compare": "comparison.compare",
    "load": "comparison.loading",
    "range_test": "ramp.range_test",
    "refind": "ramp.refinding",
    "regression": "workloads.supervised",
    "train": "training.training",
    "trainable": "workloads.trainable",
    "transfer": "scaling.transfer",
}
_MODULES = {
    "controllers": "controllers",
    "errors": "errors",
    "optimizers": "optimizers",
    "samplers": "samplers",
    "schedules": "schedules",
    "suggest": "curves.suggest",
}

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lr_search.{_MODULES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module 'lr_search' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lr_search.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
