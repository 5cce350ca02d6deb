"""Executors run the trials of studies: one by one or fused here, others by plug-in."""

from lr_search.executors.executor import Executor
from lr_search.executors.fused_executor import FusedExecutor
from lr_search.executors.local import LocalExecutor

__all__ = ["Executor", "FusedExecutor", "LocalExecutor"]
