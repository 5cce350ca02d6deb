"""Controllers: they look at a training's evaluations and change its schedule."""

from lr_search.controllers.plateau import ReduceOnPlateau
from lr_search.controllers.refind import Refind
from lr_search.training.controller import Control, Controller

__all__ = ["Control", "Controller", "ReduceOnPlateau", "Refind"]
