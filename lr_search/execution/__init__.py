"""Executors run the trials of studies: local here, others by plug-in."""

from lr_search.execution.executor import Executor
from lr_search.execution.local import LocalExecutor

__all__ = ["Executor", "LocalExecutor"]
