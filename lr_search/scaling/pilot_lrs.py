"""Where the pilots of one length go: around the LR that the range test points to, half a decade apart, until the best lies between two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lr_search.curves.prior import LRPrior
from lr_search.scaling.posterior import Pilot
from lr_search.scaling.transfer_constants import transfer_constants

PILOT_STEP = 0.5  # decades between pilots


def first_pilot_lrs(
    prior: LRPrior, *, schedule: str, num_steps: int, pilot_steps: int, epochs: float | None = None
) -> list[float]:
    """Three LRs that depend on no pilot, so that they can be trained together: the prior's mode, below it and above it.

    Args:
        prior: the range test's, for the training of `num_steps` steps.
        schedule: its name.
        num_steps: of that training.
        pilot_steps: of a pilot: the mode is moved to that length.
        epochs: passes over the training data in num_steps; None: not known.
    """
    middle = np.log10(prior.mode) - transfer_constants().drift(schedule).decades(num_steps, pilot_steps, epochs)
    places = [middle, middle - PILOT_STEP, middle + PILOT_STEP]
    return [float(np.clip(10**place, prior.low, prior.high)) for place in places]


def next_pilot_lr(
    pilots: Sequence[Pilot],
    prior: LRPrior,
    *,
    schedule: str,
    num_steps: int,
    pilot_steps: int,
    epochs: float | None = None,
) -> float:
    """The LR of the next pilot of `pilot_steps` steps, after those of that length in `pilots`; others are not looked at.

    The first at the prior's mode; then a step beyond the best while that is the highest or the lowest (down first where it
    diverged, else up); once it lies between two, into the wider gap beside it.
    """
    tried = {np.log10(p.lr): np.inf if p.diverged else p.objective for p in pilots if p.num_steps == pilot_steps}
    if not tried:
        length = {"num_steps": num_steps, "pilot_steps": pilot_steps}
        return first_pilot_lrs(prior, schedule=schedule, epochs=epochs, **length)[0]
    places = sorted(tried)
    best = min(places, key=lambda place: (tried[place], place))
    lowest, highest = best == places[0], best == places[-1]
    if lowest and (not highest or np.isinf(tried[best])):
        found = best - PILOT_STEP
    elif highest:
        found = best + PILOT_STEP
    else:
        index = places.index(best)
        below, above = places[index - 1], places[index + 1]
        found = (best + below) / 2 if best - below > above - best else (best + above) / 2
    return float(np.clip(10**found, prior.low, prior.high))
