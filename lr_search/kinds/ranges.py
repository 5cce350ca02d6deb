"""Numbers within a range, as annotations: `seed: Seed` is a whole number from 0 on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from lr_search.kinds.kind import Kind, WrongKindError


@dataclass(frozen=True)
class Least:
    """The smallest number that will do, or the one that it must be above.

    Args:
        bound: the number.
        included: whether it will do itself.
    """

    bound: float
    included: bool = True

    def of(self, kind: Kind) -> Kind:
        """The numbers of a kind that will do."""

        def take(value: Any) -> Any:
            number = kind.take(value)
            if number < self.bound or (number == self.bound and not self.included):
                raise WrongKindError
            return number

        words = f"{kind.words}, at least {self.bound:g}" if self.included else f"{kind.words} above {self.bound:g}"
        return Kind(words, take)


Seed = Annotated[int, Least(0)]
Steps = Annotated[int, Least(0)]
NumSteps = Annotated[int, Least(1)]
PositiveLR = Annotated[float, Least(0, included=False)]
