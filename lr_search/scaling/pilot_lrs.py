"""Where the pilots of one length go: around the LR that the range test, or shorter pilots, point to, until the best lies between two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lr_search.curves.prior import LRPrior
from lr_search.scaling.posterior import Pilot
from lr_search.scaling.transfer_constants import transfer_constants

PILOT_STEP = 0.5  # decades between pilots
PAIR_STEP = 0.3  # decades from where shorter pilots point to each of the first two
NEAREST = 0.02  # decades: two pilots nearer than that tell the same


def first_pilot_lrs(
    prior: LRPrior,
    *,
    schedule: str,
    num_steps: int,
    pilot_steps: int,
    steps_per_epoch: float | None = None,
    narrowed: bool = False,
) -> list[float]:
    """LRs that depend on no pilot of their length, so that they can be trained together.

    Three by the range test's prior: its mode, below it and above it. Two by a prior that shorter pilots narrowed: below its mode and
    above it, since one at the mode says little of where the best lies.

    Args:
        prior: for the training of `num_steps` steps.
        schedule: its name.
        num_steps: of that training.
        pilot_steps: of a pilot: the mode is moved to that length.
        steps_per_epoch: optimizer steps in one pass over the training data; None: not known.
        narrowed: whether shorter pilots told the prior.
    """
    low, high = np.log10([prior.low, prior.high])
    step = min(PAIR_STEP if narrowed else PILOT_STEP, (high - low) / 2)
    drift = transfer_constants().drift(schedule).decades(num_steps, pilot_steps, steps_per_epoch)
    middle = np.clip(np.log10(prior.mode) - drift, low + step, high - step)  # all lie in the range
    places = (middle - step, middle + step) if narrowed else (middle, middle - step, middle + step)
    return [float(np.clip(10**place, prior.low, prior.high)) for place in places]


def next_pilot_lr(
    pilots: Sequence[Pilot],
    prior: LRPrior,
    *,
    schedule: str,
    num_steps: int,
    pilot_steps: int,
    steps_per_epoch: float | None = None,
) -> float:
    """The LR of the next pilot of `pilot_steps` steps, after those of that length in `pilots`; others are not looked at.

    The first at the prior's mode; then a step beyond the best while that is the highest or the lowest (down first where it
    diverged, else up); once it lies between two, into the wider gap beside it.
    """
    tried = {np.log10(p.lr): np.inf if p.diverged else p.objective for p in pilots if p.num_steps == pilot_steps}
    if not tried:
        first = first_pilot_lrs(
            prior, schedule=schedule, num_steps=num_steps, pilot_steps=pilot_steps, steps_per_epoch=steps_per_epoch
        )
        return first[0]
    places, (low, high) = np.sort(list(tried)), np.log10([prior.low, prior.high])
    best = min(places, key=lambda place: (tried[place], place))
    below, above = places[places < best], places[places > best]
    # the ways from the best, the first to go first: a step beyond all that were tried, or half of the gap to the next
    down = (best + below[-1]) / 2 if len(below) else max(low, best - PILOT_STEP)
    up = (best + above[0]) / 2 if len(above) else min(high, best + PILOT_STEP)
    outward = [way for way, tried_there in ((up, len(above)), (down, len(below))) if not tried_there]
    if np.isinf(tried[best]):
        outward.reverse()
    inward = sorted((way for way in (down, up) if way not in outward), key=lambda way: -abs(way - best))
    ways = [way for way in (*outward, *inward) if abs(way - best) > NEAREST]
    return float(np.clip(10 ** (ways[0] if ways else best), prior.low, prior.high))
