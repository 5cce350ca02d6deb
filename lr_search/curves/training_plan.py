"""What a suggestion is for: the training that its LR is to be used in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

from lr_search import plugins
from lr_search.errors import require, unknown_name
from lr_search.kinds.checked import checked

USUAL_STEPS = 1000  # taken where no number is known
DECAYING = "decaying"  # what is said where no schedule is known


@checked
@dataclass(frozen=True)
class Plan:
    """The training that an LR is suggested for; what is not known is None.

    Args:
        num_steps: its optimizer steps, >= 1; None: 1,000 are taken.
        schedule: the name of the schedule that it runs under; None: one that decays is taken.
        batch_size: examples a step, >= 1.
        examples: in the training data, >= 1.
        steps_per_epoch: optimizer steps in one pass over the training data, > 0; default: from the two above, where both are known.

    Raises:
        InvalidInputError: a number breaks its rule.
        UnknownNameError: no schedule has that name.

    >>> Plan(num_steps=3000, schedule="cosine", batch_size=64, examples=48_000).epochs
    4.0
    >>> str(Plan(num_steps=300, schedule="constant")), str(Plan())
    ('300 steps of constant', '1000 steps of a decaying schedule')
    """

    num_steps: int | None = None
    schedule: str | None = None
    batch_size: int | None = None
    examples: int | None = None
    steps_per_epoch: float | None = None

    kind_remedy: ClassVar[str] = 'Give one: lrs.Plan(num_steps=3000, schedule="cosine").'

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "examples"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} must be at least 1, or None", **{name: value})
        spe = self.steps_per_epoch
        require(spe is None or 0 < spe < math.inf, "steps_per_epoch must be positive and finite", steps_per_epoch=spe)
        known = plugins.registered(plugins.SCHEDULES)
        if self.schedule is not None and self.schedule not in known:
            raise unknown_name("schedule", self.schedule, known)

    @property
    def epochs(self) -> float | None:
        """Passes over the training data; None where that is not known."""
        if self.num_steps is None:
            return None
        if self.steps_per_epoch is not None:
            return self.num_steps / self.steps_per_epoch
        if self.batch_size is None or self.examples is None:
            return None
        return self.num_steps * self.batch_size / self.examples

    @property
    def steps(self) -> int:
        """The optimizer steps that are reckoned with."""
        return USUAL_STEPS if self.num_steps is None else self.num_steps

    def __str__(self) -> str:
        under = f"a {DECAYING} schedule" if self.schedule is None else self.schedule
        return f"{self.steps} steps of {under}"

    def but(self, **given: Any) -> Plan:
        """The plan with what is given, and not None, in place of what was known. Raises: as the class."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `from_json` takes them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Plan:
        """The plan that `to_json` wrote; without what this version, or this environment, does not know."""
        known = {field.name: record[field.name] for field in fields(cls) if field.name in record}
        if known.get("schedule") not in plugins.registered(plugins.SCHEDULES):
            known["schedule"] = None
        return cls(**known)
