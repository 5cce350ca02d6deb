"""Search below the largest usable LR: one to two orders of magnitude first, then outward."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution

from lr_search.errors import InvalidInputError, quoted, require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.samplers.points import Inner, PointSampler, at_share, van_der_corput

FIRST_PLACES = (2, 4, 3)  # half-decades below the largest usable LR: a tenth, a hundredth, and between the two
NO_ROOM = 0.01  # decades


@checked
class ProbeSampler(PointSampler):
    """A tenth of the largest usable LR, a hundredth, the LR between, then outward by half-decades, then between those.

    No point lies above the largest usable LR. Where no usable LR is known, the points cover the whole range instead.

    Args:
        largest_lr: the largest usable LR, > 0, or None where none was found.
        param: the name of the LR, a log-scaled float; or several names, which all get the same points: the probe that found
            the largest usable LR stepped them together.
        seed: of the other parameters, >= 0.
        inner: the sampler of the other parameters; see `PointSampler`.

    >>> import optuna
    >>> study = optuna.create_study(sampler=ProbeSampler(1.0))
    >>> [f"{study.ask().suggest_float('lr', 1e-5, 10.0, log=True):.3g}" for _ in range(7)]
    ['0.1', '0.01', '0.0316', '0.316', '0.00316', '1', '0.001']
    """

    def __init__(
        self, largest_lr: float | None, param: str | Sequence[str] = "lr", *, seed: Seed = 0, inner: Inner = None
    ) -> None:
        super().__init__(param, seed, inner)
        good = largest_lr is None or 0 < largest_lr < math.inf
        require(good, "largest_lr must be positive and finite, or None", largest_lr=largest_lr)
        self.largest_lr = None if largest_lr is None else float(largest_lr)

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """See the class."""
        if not isinstance(distribution, FloatDistribution) or not distribution.log:
            raise InvalidInputError(
                f"The parameter {quoted(name)} must be a log-scaled float, but got {distribution}. "
                "Suggest it with trial.suggest_float(name, low, high, log=True)."
            )
        if self.largest_lr is None:
            return at_share(distribution, van_der_corput(number + 1))
        low = distribution.low
        largest = min(max(self.largest_lr, low), distribution.high)
        room = math.log10(largest / low)
        if room < NO_ROOM:
            return low
        below = next(islice(_decades_below(room), number, None))
        return min(max(largest / 10**below, low), largest)


def _decades_below(room: float) -> Iterator[float]:
    """How far below the largest usable LR each point lies, in decades, at most `room`; without end, and none twice."""
    places = sorted(range(int(2 * room + 1e-9) + 1), key=_order)
    for lap in count():
        shift = van_der_corput(lap)
        yield from ((place + shift) / 2 for place in places if (place + shift) / 2 <= room + 1e-9)


def _order(place: int) -> tuple[float, int]:
    """Those of `FIRST_PLACES` come first, then the others by how near to them they are, the larger LR before the smaller."""
    return (-1.0, FIRST_PLACES.index(place)) if place in FIRST_PLACES else (abs(place - FIRST_PLACES[-1]), place)
