"""Schedules: pure functions `step -> lr`. They know no torch and no optimizer."""

from lr_search.schedules.base import Schedule
from lr_search.schedules.compose import Joined, join, warmup
from lr_search.schedules.cosine import Cosine
from lr_search.schedules.decay import Constant, Exponential, InverseSqrt, StepDecay
from lr_search.schedules.exp_range import ExpRange
from lr_search.schedules.named import by_name
from lr_search.schedules.one_cycle import OneCycle
from lr_search.schedules.polynomial import Linear, Polynomial
from lr_search.schedules.sgdr import SGDR
from lr_search.schedules.source import TorchCall
from lr_search.schedules.triangular import Triangular, Triangular2
from lr_search.schedules.wsd import WSD

__all__ = [
    "SGDR",
    "WSD",
    "Constant",
    "Cosine",
    "ExpRange",
    "Exponential",
    "InverseSqrt",
    "Joined",
    "Linear",
    "OneCycle",
    "Polynomial",
    "Schedule",
    "StepDecay",
    "TorchCall",
    "Triangular",
    "Triangular2",
    "by_name",
    "join",
    "warmup",
]
