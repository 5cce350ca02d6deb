"""A storage that is no database: memory, a journal, a server's. It has no transactions; each write is made at once."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from lr_search.storage.keys import OWNER
from lr_search.storage.ownership import Claim, claim_of
from lr_search.storage.working.working_storage import WorkingStorage


class PlainStorage(WorkingStorage):
    """Looks again just before it writes, which leaves a moment in which two processes may take one lost trial for their own."""

    def refresh(self, study_id: int) -> list[FrozenTrial]:  # noqa: D102
        return self.inner.get_all_trials(study_id, deepcopy=False)

    before_taking = refresh

    def draft(self, study_id: int, number: int, claim: Claim) -> int:  # noqa: D102
        new = create_trial(state=TrialState.RUNNING)
        new.set_user_attr(OWNER, claim.signature())
        return self.inner.create_new_trial(study_id, new)

    def begin(self, drafts: Sequence[int]) -> list[int]:  # noqa: D102
        return list(drafts)

    def drop(self, drafts: Sequence[int]) -> None:  # noqa: D102
        for trial_id in drafts:
            self._set(trial_id, TrialState.WAITING)

    def take_waiting(self, trial_id: int, claim: Claim) -> bool:  # noqa: D102
        waits = self.inner.get_trial(trial_id).state == TrialState.WAITING
        if not waits or not self._set(trial_id, TrialState.RUNNING):
            return False
        self.inner.set_trial_user_attr(trial_id, OWNER, claim.signature())
        return True

    def put_back(self, trial_id: int, claim: str | None) -> bool:  # noqa: D102
        return self._runs_under(trial_id, claim) and self._set(trial_id, TrialState.WAITING)

    def renew(self, trial_id: int, claim: Claim) -> None:  # noqa: D102
        if self._runs_under(trial_id, claim.id):
            self.inner.set_trial_user_attr(trial_id, OWNER, claim.signature())

    def _runs_under(self, trial_id: int, claim: str | None) -> bool:
        trial = self.inner.get_trial(trial_id)
        return trial.state == TrialState.RUNNING and claim_of(trial.user_attrs.get(OWNER)) == claim

    def _set(self, trial_id: int, state: TrialState) -> bool:
        try:
            return self.inner.set_trial_state_values(trial_id, state)
        except UpdateFinishedTrialError:
            return False

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:  # noqa: D102
        yield

    def keep(self, study_id: int, key: str, value: Any) -> None:  # noqa: D102
        self.inner.set_study_user_attr(study_id, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:  # noqa: D102
        return self.inner.create_new_trial(study_id, template_trial)

    def set_trial_param(  # noqa: D102
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self.inner.set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(  # noqa: D102
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        return self.inner.set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:  # noqa: D102
        self.inner.set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:  # noqa: D102
        self.inner.set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:  # noqa: D102
        self.inner.set_trial_system_attr(trial_id, key, value)

    def get_trial(self, trial_id: int) -> FrozenTrial:  # noqa: D102
        return self.inner.get_trial(trial_id)

    def get_all_trials(  # noqa: D102
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return self.inner.get_all_trials(study_id, deepcopy, states)
