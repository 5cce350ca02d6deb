"""What a process does with the trials of a storage, of whatever kind the storage is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial

from lr_search.storage.ownership import Claim


class WorkingStorage(BaseStorage):
    """A storage as a process sees it that takes trials, runs them, and tells their ends; Optuna's samplers and pruners see it too.

    Args:
        inner: where all is kept; what concerns whole studies goes straight there.
    """

    def __init__(self, inner: BaseStorage) -> None:
        self.inner = inner

    @abstractmethod
    def refresh(self, study_id: int) -> list[FrozenTrial]:
        """All trials of a study as of now, in the order of their numbers."""

    @abstractmethod
    def before_taking(self, study_id: int) -> list[FrozenTrial]:
        """All trials of a study, good enough to take one: if another process was faster, `begin` says so."""

    @abstractmethod
    def draft(self, study_id: int, number: int, claim: Claim) -> int:
        """A new running trial of that number, signed with the claim. Returns: its id.

        A storage that cannot look and make in one go has made it now, perhaps under a later number, as another process was
        faster; a database will make it in `begin`, and it has its id from then on.
        """

    @abstractmethod
    def begin(self, drafts: Sequence[int]) -> list[int] | None:
        """Make the trials that were drafted, of one study. Returns: their ids; None where another process was faster: none is made."""

    @abstractmethod
    def drop(self, drafts: Sequence[int]) -> None:
        """Make none of those that were drafted; what is made already waits."""

    @abstractmethod
    def take_waiting(self, trial_id: int, claim: Claim) -> bool:
        """Take that trial. Returns: False if it does not wait any more."""

    @abstractmethod
    def put_back(self, trial_id: int, claim: str | None) -> bool:
        """Let a trial wait, to be run again under the same number and LR.

        Args:
            trial_id: its id in the storage.
            claim: the claim under which it was seen to run; None if it was not signed.

        Returns:
            False if it does not run any more, or under another claim.
        """

    @abstractmethod
    def renew(self, trial_id: int, claim: Claim) -> None:
        """A sign of life, unless the trial was taken away. May be called from any thread."""

    @abstractmethod
    def together(self) -> AbstractContextManager[None]:
        """What is written of this process's trials inside the block is written at its end, in one transaction where there are any."""

    @abstractmethod
    def keep(self, study_id: int, key: str, value: Any) -> None:
        """Make a study's attribute, unless another process has made it meanwhile."""

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:  # noqa: D102
        return self.inner.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:  # noqa: D102
        self.inner.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:  # noqa: D102
        self.inner.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:  # noqa: D102
        self.inner.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:  # noqa: D102
        return self.inner.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:  # noqa: D102
        return self.inner.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:  # noqa: D102
        return self.inner.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:  # noqa: D102
        return self.inner.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:  # noqa: D102
        return self.inner.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:  # noqa: D102
        return self.inner.get_all_studies()


def kept(study: optuna.Study, key: str, make: Callable[[], Any]) -> Any:
    """A study's attribute; made once, however many processes work on the study."""
    attributes = study.user_attrs
    if key not in attributes:
        working = study._storage
        assert isinstance(working, WorkingStorage)
        working.keep(study._study_id, key, make())
        attributes = study.user_attrs
    return attributes[key]
