"""The studies of a comparison in its storage: opened, new or gone on with; and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from lr_search.errors import StorageError
from lr_search.storage.environment import environment
from lr_search.storage.fingerprints.fingerprint import OPTIMIZER_CALL, OWN_OPTIMIZER, Starts
from lr_search.storage.fingerprints.function_print import AT_START, PASTED
from lr_search.storage.foreign import own_studies, require_own_study
from lr_search.storage.kept_file import studies_of
from lr_search.storage.keys import OWNER, PLAN
from lr_search.storage.ownership import at_work
from lr_search.storage.reading import read_records
from lr_search.storage.records import TrialRecord
from lr_search.storage.scopes import FORMAT, require_goes_on
from lr_search.storage.working.working_storage import kept
from lr_search.storage.working.wrapped import working_storage
from lr_search.studies.plan import FIRST, StudyKind, StudyPlan
from lr_search.studies.study import StudyTask
from lr_search.training.controller import Controller, first_schedule

_SHAPE_POINTS = 301  # of a schedule, for its picture


def finished_trials(storage: BaseStorage, name: str, plans: Sequence[StudyPlan]) -> list[TrialRecord]:
    """The trials of these studies that an earlier call has finished."""
    names = {plan.name for plan in plans}
    records = [record for record in read_records(storage, name) if record.name in names]
    return [trial for record in records for trial in record.trials if trial.state != "RUNNING"]


def recorded_plans(storage: BaseStorage, name: str) -> list[Mapping[str, Any]]:
    """The plans of a comparison's studies, as the storage holds them. Raises: StorageError: parts of one are gone."""
    return [study.user_attrs[PLAN] for study in own_studies(storage, name)]


def open_studies(
    storage: BaseStorage,
    name: str,
    plans: Sequence[StudyPlan],
    starts: Starts,
    first: int = 0,
    kinds: Sequence[StudyKind] | None = None,
) -> list[StudyTask]:
    """The plans' studies, new or gone on with; searches know the range tests or probe they wait for.

    Args:
        storage: where they are kept, as this process works on it or as it was opened.
        name: of the comparison.
        plans: what the studies are for.
        starts: the fingerprints, by optimizer and seed.
        first: the place of the first study among the comparison's.
        kinds: open those of these kinds alone; default: all.
    """
    working = working_storage(storage)
    held = {frozen.study_name: frozen for frozen in storage.get_all_studies()}
    tasks: list[StudyTask] = []
    by_name: dict[str, StudyTask] = {}
    for order, plan in enumerate(plans, start=first):
        if kinds is not None and plan.kind not in kinds:
            continue
        direction = "minimize" if plan.kind in FIRST else plan.workload.direction
        if plan.name in held:
            study_id = held[plan.name]._study_id
            wanted = StudyDirection[direction.upper()]
            require_own_study(held[plan.name], name, wanted, storage.get_n_trials(study_id))
        study = optuna.create_study(
            storage=working,
            study_name=plan.name,
            direction=direction,
            load_if_exists=True,
            pruner=plan.pruner if plan.pruner is not None else optuna.pruners.NopPruner(),
        )
        present = plan_attribute(name, plan, starts)
        whole = partial(_whole_attribute, order, present)
        own = held[plan.name].user_attrs.get(PLAN) if plan.name in held else None
        require_goes_on(plan.name, [own or kept(study, PLAN, whole)], [present])
        by_name[plan.name] = StudyTask(plan, study, by_name[plan.waits_for] if plan.waits_for else None)
        tasks.append(by_name[plan.name])
    return tasks


def plan_attribute(name: str, plan: StudyPlan, starts: Starts) -> dict[str, Any]:
    """What the storage is to record of a plan, but for when and where: enough to report, and to know it again."""
    start = dict(starts[plan.optimizer, plan.seed])
    beside = {key: start.pop(key, None) for key in (OPTIMIZER_CALL, OWN_OPTIMIZER)}
    beside |= {key: start.pop(key) for key in (PASTED, AT_START) if key in start}
    return {**plan.attribute(), "fingerprint": start, **beside, "comparison": name, "format": FORMAT, **_scale(plan)}


def _whole_attribute(order: int, present: Mapping[str, Any]) -> dict[str, Any]:
    return {**present, "order": order, "environment": environment()}


def _scale(plan: StudyPlan) -> dict[str, Any]:
    """What a report needs of the workload."""
    work = plan.workload
    scale = {"num_steps": work.num_steps, "objective": work.objective, "direction": work.direction}
    if plan.waits_for:
        scale["waits_for"] = plan.waits_for
    if plan.kind == "confirm":
        scale["on_test_data"] = work.test_data is not None
    if plan.layout is None:
        return scale
    trained_under = plan.layout(1.0)
    scale |= {"controller": True} if isinstance(trained_under, Controller) else {}
    schedule = first_schedule(trained_under)
    steps = np.unique(np.linspace(0, work.num_steps - 1, _SHAPE_POINTS).round())
    scale |= {"by_name": plan.layout.name, "steps_per_epoch": work.steps_per_epoch}
    shape = {"step": steps.tolist(), "lr": schedule(steps).round(6).tolist()}
    return {**scale, "shape": {**shape, "cycle_ends": schedule.cycle_ends(work.num_steps)}}


def delete_comparison(storage: BaseStorage, name: str) -> None:
    """Delete every study of the comparison.

    Raises:
        StorageError: a process is at work on it.
    """
    studies = studies_of(storage, name)
    for study in studies:
        for trial in storage.get_all_trials(study._study_id, deepcopy=False, states=(TrialState.RUNNING,)):
            owner = trial.user_attrs.get(OWNER)
            if isinstance(owner, Mapping) and at_work(trial):
                raise StorageError(
                    f"A comparison is deleted only while nobody works on it, but process {owner.get('pid')} on "
                    f"{owner.get('machine', '?').split()[0]} runs a trial of {name!r}. Stop it first, or leave out fresh "
                    "(--fresh) to share the work."
                )
    for study in studies:
        storage.delete_study(study._study_id)
