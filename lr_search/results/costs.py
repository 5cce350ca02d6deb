"""Where the steps of each way of searching went."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lr_search.results.anytime import Lines
from lr_search.storage.records import StudyRecord

PARTS = ["range tests", "pilots", "finished", "diverged", "pruned", "failed"]
COSTS_COLUMNS = ["strategy", "schedule", "optimizer", "part", "steps", "seconds"]


def duration_text(seconds: float) -> str:
    """Seconds, minutes or hours, as one says it.

    >>> duration_text(0.2), duration_text(24.3), duration_text(420), duration_text(9000)
    ('1 s', '24 s', '7 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def costs_frame(records: Sequence[StudyRecord]) -> pd.DataFrame:
    """A row for each strategy x schedule x optimizer and each part of its cost: steps and seconds, means over its studies.

    Columns:
        strategy, schedule, optimizer (category).
        part (category): range tests (or a probe; a shared one is charged in full to each study), pilots, then finished, diverged,
            pruned or failed trainings.
        steps: optimizer steps a study spent on it; seconds: time in training and evaluating.
    """
    lines = Lines(records)
    rows = []
    for key, group in lines.groups.items():
        spent = {part: [0.0, 0.0] for part in PARTS}
        for line in group.values():
            before = lines.before.get(line.study.name, ())
            parts = [
                (trial, "pilots" if first.kind == "pilot" else "range tests")
                for first in before
                for trial in first.trials
            ]
            parts += [(t, t.outcome["ended"]) for t in line.study.trials if t.state != "RUNNING" and t.outcome]
            for trial, part in parts:
                spent[part][0] += trial.steps / len(group)
                spent[part][1] += trial.outcome.get("seconds", 0.0) / len(group)
        rows += [(*key, part, *each) for part, each in spent.items()]
    frame = pd.DataFrame(rows, columns=COSTS_COLUMNS)
    frame = frame.astype({**dict.fromkeys(COSTS_COLUMNS[:3], "category"), "steps": "float64", "seconds": "float64"})
    return frame.assign(part=pd.Categorical(frame["part"], PARTS))
