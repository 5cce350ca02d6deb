"""Executors run the trials of studies: one by one or fused here, others by plug-in."""

from lr_search.execution.executor import Executor
from lr_search.execution.fused import FusedExecutor
from lr_search.execution.local import LocalExecutor

__all__ = ["Executor", "FusedExecutor", "LocalExecutor"]
