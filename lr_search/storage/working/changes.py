"""What this process has to write of one trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState


@dataclass
class Changes:
    """Of one trial that this process runs.

    Args:
        before: the trial as the storage holds it.
        user_attrs: attributes, new or with another value.
        system_attrs: likewise.
        reports: step -> value; each is new.
        end: its final state, values and time.
    """

    before: FrozenTrial
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    end: tuple[TrialState, list[float] | None, datetime] | None = None


Written = Mapping[int, Changes]  # by the trials' ids
