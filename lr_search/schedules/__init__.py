"""Schedules: pure functions `step -> lr`. They know no torch and no optimizer."""

from lr_search.schedules.base import Schedule
from lr_search.schedules.constant import Constant
from lr_search.schedules.layout import by_name
from lr_search.schedules.triangular import ExpRange, Triangular, Triangular2
from lr_search.schedules.warm_restarts import SGDR

__all__ = ["SGDR", "Constant", "ExpRange", "Schedule", "Triangular", "Triangular2", "by_name"]
