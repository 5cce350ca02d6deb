"""A comparison's trials as TensorBoard runs."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lr_search.errors import MissingPackageError, OutputError
from lr_search.report.exported_trials import ExportedTrial, Point, digest, exported_trials

ENDING = ".lr_search"  # of the event files that are ours
_LONGEST_NAME = 48  # characters; a folder's name may have 255 bytes
LARGEST = float(np.finfo(np.float32).max)  # TensorBoard keeps values as float32
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # names of devices on Windows


def write_tensorboard(trials: pd.DataFrame, evaluations: pd.DataFrame, directory: str | Path) -> Path:
    """Write each trial that has ended as a TensorBoard run.

    The run of trial 3 is directory/<comparison>/<strategy>/<schedule>/<optimizer>/seed 0/trial 003. It holds, against the steps, the
    training loss, the LR and every metric; objective, steps and seconds at the end; and what the HPARAMS page shows: the LR, strategy,
    schedule, optimizer, seed, shape and outcome. Times go evenly from the trial's start to its end. Infinite values are left out, since
    TensorBoard does not draw them: the outcome says that a trial diverged. In names, what a folder's name cannot hold becomes
    `_`, with a digest behind, so that different names stay apart.

    Writing again replaces what was written before, and leaves alone what has not changed and what others wrote.

    Args:
        trials: as `comparison.trials`.
        evaluations: as `comparison.evaluations`.
        directory: created where it is missing.

    Returns:
        The directory: `tensorboard --logdir` takes it.

    Raises:
        MissingPackageError: TensorBoard is not installed.
        OutputError: the directory cannot be written to.
        InvalidInputError: a trial is in the table twice.

    Reference: the format is TensorBoard's own, github.com/tensorflow/tensorboard (tensorboard/compat/proto/event.proto and
    tensorboard/plugins/hparams/plugin_data.proto).

    >>> import tempfile
    >>> import lr_search as lrs
    >>> from lr_search.results.tables import evaluations_frame, trials_frame
    >>> folder = Path(tempfile.mkdtemp()) / "runs"
    >>> write_tensorboard(trials_frame([]), evaluations_frame([]), folder) == folder
    True
    """
    _require_tensorboard()
    directory = Path(directory)
    exported = list(exported_trials(trials, evaluations))
    folders = folder_names(name for trial in exported for name in trial.names)
    experiment = _experiment(exported)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for trial in exported:
            named = directory.joinpath(*(folders[name] for name in trial.names))
            _write(named / f"seed {trial.seed}" / f"trial {trial.number:03d}", trial, experiment)
    except OSError as error:
        raise OutputError(
            f"The runs must go to a folder that can be written, but got {error.filename or directory}: {error.strerror}. "
            "Give another folder."
        ) from error
    return directory


def _require_tensorboard() -> None:
    try:
        import tensorboard.compat.proto  # noqa: F401
    except ImportError as error:
        raise MissingPackageError('to_tensorboard needs TensorBoard: pip install "lr-search[tensorboard]".') from error


def folder_names(names: Iterable[str]) -> dict[str, str]:
    """A folder's name for each name; different ones stay different, also where the file system takes A for a.

    >>> folder_names(["tpe+range_test", "..", "a/b"])
    {'..': '~5ec1f7e700', 'a/b': 'a_b~c14cddc033', 'tpe+range_test': 'tpe+range_test'}
    """
    different = sorted(set(names))
    alike = Counter(name.casefold() for name in different)
    return {name: _folder_name(name, alike[name.casefold()] == 1) for name in different}


def _folder_name(name: str, alone: bool) -> str:
    kept = re.sub(r"[^\w .+=,()-]", "_", name)[:_LONGEST_NAME].strip(" .")
    if alone and kept and kept == name and not RESERVED.fullmatch(name):
        return name
    return f"{'_' if RESERVED.fullmatch(kept) else ''}{kept}~{digest(name)}"  # no name that is kept has a ~


def _write(folder: Path, trial: ExportedTrial, experiment: Any) -> None:
    """Write the run's event file unless it is there already; remove those that we wrote before."""
    content = _event_file(trial, experiment)
    file = folder / f"events.out.tfevents.{int(trial.ended):010d}{ENDING}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (file.is_file() and file.read_bytes() == content):
        unfinished = folder / f"unfinished{ENDING}"  # a name that TensorBoard does not read
        unfinished.write_bytes(content)
        os.replace(unfinished, file)
    for other in folder.glob(f"events.out.tfevents.*{ENDING}"):
        if other != file:
            other.unlink()


def _event_file(trial: ExportedTrial, experiment: Any) -> bytes:
    """The content of the run's event file, which depends on nothing but the trial and the experiment."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    def scalars(point: Point) -> Any:
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in point.measured.items()
            if not abs(value) > LARGEST
        ]
        return Event(wall_time=point.time, step=point.step, summary=Summary(value=values))

    events = [Event(wall_time=trial.started, file_version="brain.Event:2")]
    events += [Event(wall_time=trial.started, summary=summary) for summary in (experiment, _session_start(trial))]
    events += [scalars(point) for point in (*trial.points, trial.final)]
    events += [Event(wall_time=trial.ended, step=trial.final.step, summary=_session_end(trial))]
    content = io.BytesIO()
    records = RecordWriter(content)
    for event in events:
        records.write(event.SerializeToString(deterministic=True))
    return content.getvalue()


def _hyperparameters(trial: ExportedTrial) -> dict[str, str | float]:
    return {**trial.settings, "outcome": trial.labels.get("outcome", "")}


def _experiment(trials: Sequence[ExportedTrial]) -> Any:
    """Which hyperparameters and metrics there are: the same in every run, since TensorBoard takes the first that it finds."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    names = {name: isinstance(value, str) for trial in trials for name, value in _hyperparameters(trial).items()}
    types = {True: api_pb2.DATA_TYPE_STRING, False: api_pb2.DATA_TYPE_FLOAT64}
    experiment = api_pb2.Experiment(
        hparam_infos=[api_pb2.HParamInfo(name=name, type=types[is_text]) for name, is_text in names.items()],
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in ("objective", "steps")],
    )
    return _summary(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))


def _session_start(trial: ExportedTrial) -> Any:
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(start_time_secs=trial.started)
    for name, value in _hyperparameters(trial).items():
        if isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    return _summary(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start))


def _session_end(trial: ExportedTrial) -> Any:
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_FAILURE if trial.labels["state"] == "FAIL" else api_pb2.STATUS_SUCCESS
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=trial.ended)
    return _summary(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end))


def _summary(tag: str, data: Any) -> Any:
    """The HPARAMS page's data, which stands in a summary's metadata."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import metadata

    data.version = metadata.PLUGIN_DATA_VERSION
    content = data.SerializeToString(deterministic=True)
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=content)
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])
