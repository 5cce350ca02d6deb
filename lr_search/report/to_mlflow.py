"""A comparison's trials as MLflow runs."""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import pandas as pd
import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from lr_search.errors import MOST_QUOTED, MissingPackageError, OutputError, quoted, require
from lr_search.kinds.printable_names import require_name
from lr_search.report.exported_trials import ExportedTrial, Point, digest, exported_trials, shortened
from lr_search.storage.masking import masked_text, masked_url

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

_TRIAL = "lr_search.trial"  # the tag that says which trial a run is
STATUSES = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
LONGEST = 250  # characters of a name, MLflow's limit
LONGEST_TEXT = 5000  # characters of a tag's or parameter's value; MLflow's limits are 8000 and 6000
BLOCK = 1000  # metrics and parameters in one request; MLflow's limit
PAGE = 1000  # runs read in one request
PATIENCE = 10  # seconds to wait for a server's first answer


def log_to_mlflow(
    trials: pd.DataFrame, evaluations: pd.DataFrame, *, tracking_uri: str | None = None, experiment: str | None = None
) -> str:
    """Log each trial that has ended as an MLflow run.

    A run's parameters are the LR, strategy, schedule, optimizer, seed and shape; its metrics, with their steps and times (evenly from the
    trial's start to its end), the training loss, the LR and every metric, and at the end objective, steps and seconds; its tags the state,
    outcome, reason and device, and lr_search.trial: comparison/strategy/schedule/optimizer/seed/number. A run is FINISHED, as a diverged
    trial's is too (its outcome says so), KILLED where the trial was pruned, FAILED where it failed: as MLflow's own Optuna study
    has it. Infinite values are left out, since MLflow's databases keep 1.8e308 for them.

    Logging again adds what is new: a trial that is there with the same end is left as it is, and one whose logging was interrupted is
    logged anew, its unfinished run deleted. The active run and the tracking URI of the process stay as they are.

    Args:
        trials: as `comparison.trials`.
        evaluations: as `comparison.evaluations`.
        tracking_uri: a server or a database, as `http://localhost:5000` or `sqlite:///mlflow.db`; without it, where MLflow logs otherwise.
        experiment: its name; the comparison's without it.

    Returns:
        The experiment's id.

    Raises:
        MissingPackageError: MLflow is not installed.
        OutputError: the server or database cannot be reached or written to, or the experiment has been deleted.
        InvalidInputError: no experiment is named and the trials are not of one comparison; or a trial is in the table twice.

    Reference: mlflow.org/docs/latest/ml/tracking.
    """
    if experiment is not None:
        require_name("experiment", experiment)
    mlflow_client, resolved = _mlflow(tracking_uri)
    names = list(dict.fromkeys(trials["comparison"]))
    require(
        experiment is not None or len(names) == 1,
        "The trials must be of one comparison where no experiment is named",
        "Name one with experiment=.",
        comparisons=names,
    )
    exported = list(exported_trials(trials, evaluations))
    with _errors_explained(resolved):
        _require_reachable(resolved)
        client = mlflow_client(tracking_uri=tracking_uri)
        experiment_id = _experiment_id(client, shortened(experiment or names[0], 500))
        there = _runs_there(client, experiment_id)
        for trial in exported:
            if (trial_tag(trial), _milliseconds(trial.ended)) not in there:
                _log(client, experiment_id, trial)
    return experiment_id


def _mlflow(tracking_uri: str | None) -> tuple[type[MlflowClient], str]:
    """MLflow's client, and where it would log."""
    try:
        from mlflow import MlflowClient
        from mlflow.tracking import get_tracking_uri
    except ImportError as error:
        raise MissingPackageError('to_mlflow needs MLflow: pip install "lr-search[mlflow]".') from error
    return MlflowClient, tracking_uri or get_tracking_uri()


@contextlib.contextmanager
def _errors_explained(uri: str) -> Iterator[None]:
    """What goes wrong with MLflow in this block becomes one OutputError, without the password in `uri`."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OutputError(
            f"MLflow must be reached and written to, but got {masked_url(uri)[:MOST_QUOTED]}: {masked_text(reason, uri)[:MOST_QUOTED]}. "
            "Start its server, or give another tracking_uri."
        ) from error


def _require_reachable(uri: str) -> None:
    """Ask once: MLflow itself tries for minutes."""
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        with (
            contextlib.suppress(HTTPError),
            urlopen(f"{uri.rstrip('/')}/health", timeout=PATIENCE),
        ):  # an answer is an answer
            pass
    elif scheme.split("+")[0] in ("sqlite", "postgresql", "mysql", "mssql"):
        url = sqlalchemy.make_url(uri)
        if scheme.startswith("sqlite") and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)  # as MLflow does
        engine = sqlalchemy.create_engine(url)
        tables = set(sqlalchemy.inspect(engine).get_table_names())
        engine.dispose()
        if {"studies", "trials"} <= tables:
            raise OSError("it is an Optuna storage")


def _experiment_id(client: MlflowClient, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return str(client.create_experiment(name))
    if experiment.lifecycle_stage != "active":
        raise OutputError(
            f"The experiment must be one that is not deleted, but got {quoted(name)}. Restore it, or name another with experiment=."
        )
    return str(experiment.experiment_id)


def _runs_there(client: MlflowClient, experiment_id: str) -> set[tuple[str, int]]:
    """Trial and end of the runs that are logged already; unfinished ones of ours are deleted."""
    there, unfinished, token = set(), [], None
    while True:
        page = client.search_runs([experiment_id], f"tags.`{_TRIAL}` != ''", max_results=PAGE, page_token=token)
        for run in page:
            if run.info.status == "RUNNING":
                unfinished.append(run.info.run_id)
            else:
                there.add((run.data.tags[_TRIAL], run.info.end_time))
        token = page.token
        if not token:
            break
    for run_id in unfinished:
        client.delete_run(run_id)
    return there


def _log(client: MlflowClient, experiment_id: str, trial: ExportedTrial) -> None:
    from mlflow.entities import Param

    tags = {_TRIAL: trial_tag(trial)} | {name: text[:LONGEST_TEXT] for name, text in trial.labels.items() if text}
    name = f"{trial.names[1]} {trial.names[2]} {trial.names[3]} seed {trial.seed} trial {trial.number:03d}"
    run = client.create_run(experiment_id, _milliseconds(trial.started), tags, run_name=shortened(name, LONGEST))
    run_id = run.info.run_id
    params = [Param(valid_name(name), str(value)[:LONGEST_TEXT]) for name, value in trial.settings.items()]
    metrics = [metric for point in (*trial.points, trial.final) for metric in _metrics(point)]
    room = BLOCK - len(params)
    client.log_batch(run_id, metrics[:room], params)
    for first in range(room, len(metrics), BLOCK):
        client.log_batch(run_id, metrics[first : first + BLOCK])
    with contextlib.redirect_stdout(io.StringIO()):  # to a server it prints two lines a run
        client.set_terminated(run_id, STATUSES[trial.labels["state"]], _milliseconds(trial.ended))


def _metrics(point: Point) -> list[Metric]:
    from mlflow.entities import Metric

    return [
        Metric(valid_name(name), value, _milliseconds(point.time), point.step) for name, value in point.measured.items()
    ]


def trial_tag(trial: ExportedTrial) -> str:
    """comparison/strategy/schedule/optimizer/seed/number, a `/` within a name as %2F."""
    names = (shortened(quote(name, safe=" +=,()"), LONGEST) for name in trial.names)
    return "/".join([*names, str(trial.seed), str(trial.number)])


def valid_name(name: str) -> str:
    """A name that MLflow takes; where something had to change, with a digest, so that different names stay apart.

    >>> valid_name("top-5 error"), valid_name("error %")
    ('top-5 error', 'error _-06a2dba284')
    """
    kept = re.sub(r"[^\w\-. /]", "_", name)
    inside = posixpath.normpath(kept) == kept and not kept.startswith(("/", ".")) and kept != ""
    if kept == name and inside:
        return shortened(name, LONGEST)
    return f"{kept.replace('/', '_').lstrip('.')[: LONGEST - 11]}-{digest(name)}"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
