"""Workloads that train in milliseconds: those of `lr_search.testing`."""

from lr_search.testing.line_workload import LINE_SETTINGS as SETTINGS
from lr_search.testing.line_workload import data, shuffled, squared_error
from lr_search.testing.line_workload import line_workload as line

__all__ = ["SETTINGS", "data", "line", "shuffled", "squared_error"]
