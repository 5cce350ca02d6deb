"""What the attributes of our studies and trials are called, and how a record is split; the prior's stands beside its format, in curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# of a study
PLAN = "lr_search"  # what it is for: the plan

# of a trial
OWNER = "owner"  # who runs it
RECORD = "record"  # what became of it: the outcome
VERDICT = "pruned at"  # the step, and what else the pruner wanted to write

EVALUATIONS = "evaluations"  # in a record, the last entry
_SPLIT = f', "{EVALUATIONS}": {{"step"'


def plan_of(attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The plan among a study's attributes; None in a study of another program."""
    plan = attributes.get(PLAN)
    return plan if isinstance(plan, Mapping) and "comparison" in plan else None


def split_record(text: str) -> tuple[dict[str, Any], str]:
    """A record's JSON without its evaluations, and theirs as text, to be read when they are asked for: they are most of it.

    Inside of a JSON string a quote stands behind a backslash, so that no text of a user's can look like the place to split.

    >>> split_record('{"steps": 3, "evaluations": {"step": [0, 3], "metrics": {}}}')
    ({'steps': 3}, '{"step": [0, 3], "metrics": {}}')
    """
    head, separator, evaluations = text.partition(_SPLIT)
    if not separator or not text.endswith("}}}"):  # of the metrics, the evaluations and the record
        return json.loads(text), ""
    return json.loads(f"{head}}}"), f'{{"step"{evaluations[:-1]}'
