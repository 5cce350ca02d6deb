"""Controllers: they look at a training's evaluations and change its schedule."""

from lr_search.controllers.base import Control, Controller
from lr_search.controllers.plateau import ReduceOnPlateau
from lr_search.controllers.refind import Refind

__all__ = ["Control", "Controller", "ReduceOnPlateau", "Refind"]
