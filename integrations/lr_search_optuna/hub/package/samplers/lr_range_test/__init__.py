from lr_search import LRCurve
from lr_search import LRPrior
from lr_search.samplers import RangeTestSampler


__all__ = ["LRCurve", "LRPrior", "RangeTestSampler"]
