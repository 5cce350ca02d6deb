"""Comparisons put together: the studies of several storages as those of one, if they trained the same."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from lr_search.errors import FingerprintError
from lr_search.storage.records import StudyRecord
from lr_search.storage.scopes import Known


def merged(sources: Sequence[tuple[str, Sequence[StudyRecord]]]) -> list[StudyRecord]:
    """The studies of all sources, in their order; each study once.

    Args:
        sources: (the comparison's name, its studies).

    Raises:
        FingerprintError: they trained different things, or one name means different strategies or schedules.
    """
    known = Known()
    kept: dict[Any, StudyRecord] = {}
    twice = 0
    for place, (name, records) in enumerate(sources, start=1):
        for study in records:
            _compare(known, f"in {name!r} ({place})", study)
            key = _identity(study)
            if key in kept:
                twice += 1
            if key not in kept or _finished(study) > _finished(kept[key]):
                kept[key] = study
    if twice:
        warnings.warn(
            f"{twice} {'study is' if twice == 1 else 'studies are'} in more than one of the comparisons that are put together: "
            "each is taken once, from where more of it is finished.",
            UserWarning,
            stacklevel=2,
        )
    return list(kept.values())


def _identity(study: StudyRecord) -> tuple[Any, ...]:
    """Two studies with the same identity hold the same trainings."""
    if study.kind != "search":
        return (study.name,)
    return tuple(study.plan[key] for key in ("strategy", "schedule", "optimizer", "seed"))


def _finished(study: StudyRecord) -> int:
    return sum(trial.state != "RUNNING" for trial in study.trials)


def _compare(known: Known, source: str, study: StudyRecord) -> None:
    """Check a study against the first of its kind."""
    if found := known.against(source, study.plan):
        raise FingerprintError(
            f"Comparisons are put together only where they trained the same, but {'; '.join(found)}. "
            "Load them one by one; or give what differs another name, and run it again."
        )
    known.add(source, study.plan)
