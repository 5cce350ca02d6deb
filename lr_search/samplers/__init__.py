"""Optuna samplers whose n-th point depends on the seed and n alone, and the strategies made of them."""

from lr_search.samplers.fixed import FixedSampler
from lr_search.samplers.grid import GridSampler
from lr_search.samplers.handover import HandoverSampler
from lr_search.samplers.per_trial import PerTrialSampler
from lr_search.samplers.points import PointSampler
from lr_search.samplers.probe import ProbeSampler
from lr_search.samplers.random import RandomSampler
from lr_search.samplers.range_test import RangeTestSampler
from lr_search.samplers.strategies import Strategy

__all__ = [
    "FixedSampler",
    "GridSampler",
    "HandoverSampler",
    "PerTrialSampler",
    "PointSampler",
    "ProbeSampler",
    "RandomSampler",
    "RangeTestSampler",
    "Strategy",
]
