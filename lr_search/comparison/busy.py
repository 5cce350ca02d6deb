"""Whether anybody works on a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.storages import BaseStorage
from optuna.trial import TrialState

from lr_search.storage.open import open_storage, quiet_optuna, storage_errors
from lr_search.storage.ownership import at_work

if TYPE_CHECKING:
    from lr_search.comparison.comparison import Comparison


def is_busy(comparison: Comparison) -> bool:
    """Whether the process of one of its running trials may still live; of several put together, whether any trial runs."""
    running = {study.name for study in comparison.records if any(t.state == "RUNNING" for t in study.trials)}
    if not running or comparison.storage is None:
        return bool(running)
    with quiet_optuna(), storage_errors():
        storage: BaseStorage = open_storage(comparison.storage, must_exist=True)
        result = (storage.get_study_id_from_name(name) for name in running)
        return any(
            at_work(trial)
            for study_id in result
            for trial in storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        )
