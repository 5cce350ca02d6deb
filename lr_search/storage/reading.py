"""From a storage to records: of a database in five statements, however many trials there are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.study._frozen import FrozenStudy
from optuna.trial import TrialState

from lr_search.curves.prior import PRIOR_ATTRIBUTE, LRPrior
from lr_search.samplers.strategies import PARAM
from lr_search.storage.foreign import as_written, own_studies, require_record
from lr_search.storage.garbage_collection import garbage_collection_paused
from lr_search.storage.keys import PLAN, RECORD, plan_of, split_record
from lr_search.storage.open import READS_ONLY
from lr_search.storage.records import StudyRecord, TrialRecord

STUDIES_AT_ONCE = 500  # in one statement: databases limit its parameters


def comparison_names(storage: BaseStorage) -> list[str]:
    """The comparisons a storage holds."""
    plans = (plan_of(frozen.user_attrs) for frozen in storage.get_all_studies())
    return sorted({str(plan["comparison"]) for plan in plans if plan is not None})


def read_records(storage: BaseStorage, name: str) -> list[StudyRecord]:
    """Every study of the comparison, in the order they were planned.

    Raises:
        StorageError: another program added to it, or changed what is kept of it.
    """
    studies = own_studies(storage, name)
    trials = _trials_by_study(storage, studies)
    records = []
    for frozen in studies:
        plan = frozen.user_attrs[PLAN]
        records.append(
            StudyRecord(
                name=frozen.study_name,
                plan=plan,
                prior=_prior_of(frozen),
                trials=[
                    _own(trial, frozen.study_name, plan["objective"]) for trial in trials.get(frozen._study_id, [])
                ],
            )
        )
    return sorted(records, key=lambda record: (record.plan["order"], record.name))


def _prior_of(study: FrozenStudy) -> LRPrior | None:
    prior = study.user_attrs.get(PRIOR_ATTRIBUTE)
    with as_written(f"The prior of {study.study_name!r}"):
        return None if prior is None else LRPrior.from_json(prior)


def _own(trial: TrialRecord, study: str, objective: str) -> TrialRecord:
    """The trial, if it runs or lr_search ran it; a pruned one at its cut."""
    if trial.state == TrialState.RUNNING.name:
        return trial
    require_record(trial.outcome or None, study, trial.number, trial.state)
    with as_written(f"Trial {trial.number} of {study!r}"):
        return _at_the_cut(trial, objective)


def _at_the_cut(trial: TrialRecord, objective: str) -> TrialRecord:
    """A pruned trial with the objective at its last evaluation: Optuna's value is what was reported to the pruner."""
    if trial.state != TrialState.PRUNED.name:
        return trial
    return replace(trial, value=float(trial.evaluations()["metrics"][objective][-1]))


def _trials_by_study(storage: BaseStorage, studies: Sequence[FrozenStudy]) -> dict[int, list[TrialRecord]]:
    backend = getattr(storage, "_backend", storage)  # behind Optuna's cache
    if isinstance(backend, RDBStorage):
        return _from_database(backend, [study._study_id for study in studies])
    trials_by_study: dict[int, list[TrialRecord]] = {}
    for study in studies:
        for trial in storage.get_all_trials(study._study_id, deepcopy=False):
            if trial.state != TrialState.WAITING:
                value, record = trial.values[0] if trial.values else math.nan, trial.user_attrs.get(RECORD, {})
                trial_record = _trial(trial.number, trial.state, value, trial.params, record, "")
                trials_by_study.setdefault(study._study_id, []).append(trial_record)
    return trials_by_study


def _from_database(storage: RDBStorage, ids: Sequence[int]) -> dict[int, list[TrialRecord]]:
    """The trials without what a report does not need: Optuna's reports, distributions and other attributes."""
    trials_by_study: dict[int, list[TrialRecord]] = {}
    options: dict[str, Any] = {READS_ONLY: True}
    if storage.engine.dialect.name == "postgresql":  # one moment for all statements, as the others have by themselves
        options["isolation_level"] = "REPEATABLE READ"
    with storage.engine.connect().execution_options(**options) as connection, garbage_collection_paused():
        for first in range(0, len(ids), STUDIES_AT_ONCE):
            bound = {"studies": ids[first : first + STUDIES_AT_ONCE], "key": RECORD}
            params = _params(connection.execute(_SELECT_PARAMS, bound))
            for trial_id, study_id, number, state, value, kind, text in connection.execute(_SELECT_TRIALS, bound):
                record, unread = split_record(text) if text is not None and state.is_finished() else ({}, "")
                objective = math.nan if kind is None else models.TrialValueModel.stored_repr_to_value(value, kind)
                trial_record = _trial(number, state, objective, params.get(trial_id, {}), record, unread)
                trials_by_study.setdefault(study_id, []).append(trial_record)
    return trials_by_study


_trials, _values, _parameters, _attributes = (
    model.__table__
    for model in (models.TrialModel, models.TrialValueModel, models.TrialParamModel, models.TrialUserAttributeModel)
)
_OF_STUDIES = _trials.c.study_id.in_(sqlalchemy.bindparam("studies", expanding=True))
_SELECT_TRIALS = (
    sqlalchemy.select(
        _trials.c.trial_id, _trials.c.study_id, _trials.c.number, _trials.c.state,
        _values.c.value, _values.c.value_type, _attributes.c.value_json,
    )
    .outerjoin(_values, _values.c.trial_id == _trials.c.trial_id)
    .outerjoin(
        _attributes,
        (_attributes.c.trial_id == _trials.c.trial_id) & (_attributes.c.key == sqlalchemy.bindparam("key")),
    )
    .where(_OF_STUDIES, _trials.c.state != TrialState.WAITING)
    .order_by(_trials.c.study_id, _trials.c.number)
)  # fmt: skip
_SELECT_PARAMS = (
    sqlalchemy.select(
        _parameters.c.trial_id, _parameters.c.param_name, _parameters.c.param_value, _parameters.c.distribution_json
    )
    .join(_trials, _trials.c.trial_id == _parameters.c.trial_id)
    .where(_OF_STUDIES)
    .order_by(_parameters.c.param_id)  # as they were asked for
)


def _params(rows: Iterable[Any]) -> dict[int, dict[str, Any]]:
    """Trial -> name -> value."""
    distributions: dict[str, BaseDistribution] = {}
    params: dict[int, dict[str, Any]] = {}
    for trial_id, name, value, text in rows:
        if text not in distributions:
            distributions[text] = json_to_distribution(text)
        params.setdefault(trial_id, {})[name] = distributions[text].to_external_repr(value)
    return params


def _trial(
    number: int, state: TrialState, value: float, params: Mapping[str, Any], record: Mapping[str, Any], unread: str
) -> TrialRecord:
    outcome = record if state.is_finished() else {}
    shape = {name: value for name, value in params.items() if name != PARAM}
    return TrialRecord(number, state.name, float(params.get(PARAM, math.nan)), float(value), outcome, shape, unread)
