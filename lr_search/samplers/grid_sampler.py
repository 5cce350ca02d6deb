"""A log grid whose phase is random, visited from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution

from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.samplers.points import Inner, PointSampler, at_share, generator, uniform, van_der_corput

MOST_POINTS = 10**5


@checked
class GridSampler(PointSampler):
    """Cuts the (log) range of the LR into `num_points` equal steps and tries one point in each.

    Where in its step each point lies (the phase) comes from the seed, so that several seeds see different grids. The steps
    are visited in bit-reversed order, so that any first few trials cover the range. After `num_points` trials a second grid
    follows half a step beside the first, then others between them.

    Args:
        num_points: steps in the grid, >= 1.
        param: the name of the LR, or several names: each has a phase of its own, and those after the first visit their
            steps in an order drawn from (seed, lap, name), so that each step of each is tried once a lap (a Latin square).
        seed: of the phase, >= 0.
        inner: the sampler of the other parameters; see `PointSampler`.

    >>> import optuna
    >>> study = optuna.create_study(sampler=GridSampler(num_points=4, seed=0))
    >>> first, second, third, fourth = (study.ask().suggest_float("lr", 1e-4, 1.0, log=True) for _ in range(4))
    >>> round(second / first), round(third / first), round(fourth / first)
    (100, 10, 1000)
    """

    def __init__(
        self, num_points: int = 8, *, param: str | Sequence[str] = "lr", seed: Seed = 0, inner: Inner = None
    ) -> None:
        good = 1 <= num_points <= MOST_POINTS
        require(good, f"num_points must be from 1 to {MOST_POINTS:,}", num_points=num_points)
        super().__init__(param, seed, inner)
        self.num_points = num_points
        width = (num_points - 1).bit_length()
        mirrored = (int(van_der_corput(i) * 2**width) for i in range(2**width))
        self._order = [place for place in mirrored if place < num_points]

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """See the class."""
        lap, place = divmod(number, self.num_points)
        if name == self.params[0]:
            step, start = self._order[place], uniform(self.seed, 0, "phase")
        else:
            step = int(generator(self.seed, lap, f"order of {name}").permutation(self.num_points)[place])
            start = uniform(self.seed, 0, f"phase of {name}")
        phase = (start + van_der_corput(lap)) % 1.0
        return at_share(distribution, (step + phase) / self.num_points)
