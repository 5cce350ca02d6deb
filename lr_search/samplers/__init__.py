"""Optuna samplers whose n-th point depends on the seed and n alone, and the strategies made of them."""

from lr_search.samplers.fixed_sampler import FixedSampler
from lr_search.samplers.grid_sampler import GridSampler
from lr_search.samplers.handover import HandoverSampler
from lr_search.samplers.per_trial import PerTrialSampler
from lr_search.samplers.points import PointSampler
from lr_search.samplers.probe_sampler import ProbeSampler
from lr_search.samplers.random_sampler import RandomSampler
from lr_search.samplers.range_test_sampler import RangeTestSampler
from lr_search.samplers.strategies import Pilots, Rung, Strategy

__all__ = [
    "FixedSampler",
    "GridSampler",
    "HandoverSampler",
    "PerTrialSampler",
    "Pilots",
    "PointSampler",
    "ProbeSampler",
    "RandomSampler",
    "RangeTestSampler",
    "Rung",
    "Strategy",
]
