"""A comparison as Parquet files: tidy tables for any program, and the records from which it is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from lr_search.curves.prior import LRPrior
from lr_search.errors import MissingPackageError, OutputError, StorageError
from lr_search.results.findings import Findings
from lr_search.storage.keys import EVALUATIONS, split_record
from lr_search.storage.records import StudyRecord, TrialRecord

STUDIES, RECORDS = "studies.parquet", "records.parquet"


def write_parquet(findings: Findings, directory: Path) -> Path:
    """Write trials, evaluations, curves and summary; and studies and records, which `read_parquet` reads. Returns: the folder.

    Raises:
        MissingPackageError: PyArrow is not installed.
        OutputError: the folder cannot be written to.
    """
    _require_pyarrow("to_parquet")
    tables = {
        "trials.parquet": findings.trials,
        "evaluations.parquet": findings.evaluations,
        "curves.parquet": findings.curves,
        "summary.parquet": findings.summary(full=True),
        STUDIES: pd.DataFrame(
            [_study_row(findings.name, s) for s in findings.records], columns=["comparison", "study", "plan", "prior"]
        ),
        RECORDS: _records_frame(findings),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, frame in tables.items():
            frame.to_parquet(directory / file, index=False)
    except OSError as error:
        raise OutputError(
            f"The tables must go to a folder that can be written, but got {directory}: {error.strerror or error}. Give another."
        ) from error
    return directory


def parquet_name(directory: Path) -> str:
    """The name of the comparison in a folder.

    Raises:
        MissingPackageError: PyArrow is not installed.
        StorageError: there is no such folder, or none that `write_parquet` wrote.
    """
    names = _read(directory, STUDIES)["comparison"].unique()
    if len(names) != 1:
        raise StorageError(f"The folder must hold one comparison, but got {directory} with {len(names)}.")
    return str(names[0])


def read_parquet(directory: Path) -> list[StudyRecord]:
    """The studies that `write_parquet` wrote; errors as of `parquet_name`."""
    trials: dict[str, list[TrialRecord]] = {}
    for row in _rows(directory, RECORDS):
        outcome, unread = split_record(row["outcome"])
        known = (row["number"], row["state"], row["lr"], row["value"])
        trials.setdefault(row["study"], []).append(TrialRecord(*known, outcome, json.loads(row["shape"]), unread))
    studies = []
    for row in _rows(directory, STUDIES):
        prior, held = json.loads(row["prior"]), trials.get(row["study"], [])
        result = None if prior is None else LRPrior.from_json(prior)
        studies.append(StudyRecord(row["study"], json.loads(row["plan"]), result, held))
    return studies


def _rows(directory: Path, file: str) -> list[dict[Any, Any]]:
    return _read(directory, file).to_dict("records")


def _study_row(name: str, study: StudyRecord) -> tuple[str, str, str, str]:
    prior = None if study.prior is None else study.prior.to_json()
    return name, study.name, json.dumps(study.plan), json.dumps(prior)


def _records_frame(findings: Findings) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {
        name: [] for name in ("study", "number", "state", "lr", "value", "outcome", "shape")
    }
    for study in findings.records:
        for trial in study.trials:
            row = (
                study.name,
                trial.number,
                trial.state,
                trial.lr,
                trial.value,
                json.dumps(_whole(trial)),
                json.dumps(trial.shape),
            )
            for values, value in zip(columns.values(), row, strict=True):
                values.append(value)
    return pd.DataFrame(columns).astype({"lr": "float64", "value": "float64"})


def _whole(trial: TrialRecord) -> dict[str, Any]:
    """The outcome as it was recorded, the evaluations last."""
    plain = {name: value for name, value in trial.outcome.items() if name != EVALUATIONS}
    return {**plain, EVALUATIONS: trial.evaluations()} if trial.outcome else {}


def _read(directory: Path, file: str) -> pd.DataFrame:
    _require_pyarrow("reading Parquet files")
    try:
        return pd.read_parquet(directory / file)
    except (OSError, ValueError) as error:  # PyArrow's errors are ValueErrors
        reason = (
            "there is no such file" if isinstance(error, FileNotFoundError) else (str(error).splitlines() or ["?"])[0]
        )
        raise StorageError(
            f"The folder must be one that Comparison.to_parquet wrote, but got {directory} ({file}: {reason})."
        ) from error


def _require_pyarrow(what: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(f'{what} needs PyArrow: pip install "lr-search[parquet]".') from error
