"""Leaves what was found where optuna-dashboard shows it: notes and plots of the studies."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import ModuleType

import optuna
from optuna.trial import TrialState

from lr_search.comparison.comparison import Comparison
from lr_search.errors import InvalidInputError, MissingPackageError, quoted
from lr_search.kinds.checked import checked
from lr_search.report.plots.style import PALETTE, strategy_colors
from lr_search.results.findings import Findings
from lr_search.storage.open import open_storage, quiet_optuna
from lr_search.storage.records import StudyRecord
from lr_search_optuna.dashboard.notes import HEADING, comparison_note, study_note
from lr_search_optuna.dashboard.plots import Plot, curve_plot, objective_plot, value_axis
from lr_search_optuna.dashboard.stored import stored_prior

MARK = re.compile(f"^{HEADING}", re.MULTILINE)  # what follows it in a note is ours; what comes before is kept


@checked
def publish(found: Comparison | optuna.Study, *, name: str = "lr") -> None:
    """Leave notes and plots in the studies, for `optuna-dashboard sqlite:///...` to show.

    Each study of a comparison gets a note with the recommendation, the summary table, what the study is and its prior, and
    plots of its trials or its range tests. A study of your own gets its prior, its cost and its best trial. Publishing again
    replaces what was published before; what else a note says stays.

    Args:
        found: what `compare` or `load` returns; or a study of your own.
        name: of the LR's parameter in a study of your own.

    Raises:
        MissingPackageError: optuna-dashboard is not installed.
        InvalidInputError: `found` is neither a comparison of one storage nor a study.

    >>> import optuna_dashboard
    >>> study = optuna.create_study()
    >>> study.optimize(lambda trial: trial.suggest_float("lr", 1e-5, 10.0, log=True), n_trials=3)
    >>> publish(study)
    >>> "3 complete" in optuna_dashboard.get_note(study)
    True
    """
    board = _dashboard()
    if isinstance(found, optuna.Study):
        _leave(board, found, study_note(found, name), {"objective_by_lr": _own_plot(found, name)})
        return
    if not isinstance(found, Comparison):
        raise InvalidInputError(f"publish takes a Comparison or an Optuna study, but got {type(found).__name__}.")
    if found.storage is None:
        raise InvalidInputError(
            f"publish takes a comparison of one storage, but got {quoted(found.name)}, put together or read from files. "
            "Publish each of those it came from."
        )
    with quiet_optuna():
        storage = open_storage(found.storage, must_exist=True)
        for record in found.records:
            study = optuna.load_study(study_name=record.name, storage=storage)
            _leave(board, study, comparison_note(found, record), _plots(found, record))


def _dashboard() -> ModuleType:
    try:
        import optuna_dashboard
    except ImportError as error:
        raise MissingPackageError(
            'lr_search_optuna.publish needs optuna-dashboard: pip install "lr-search[dashboard]".'
        ) from error
    board: ModuleType = optuna_dashboard
    return board


def _leave(board: ModuleType, study: optuna.Study, note: str, plots: Mapping[str, Plot]) -> None:
    before = MARK.split(board.get_note(study))[0].rstrip()
    board.save_note(study, f"{before}\n\n{note}".lstrip())
    for place, plot in plots.items():
        board.save_plotly_graph_object(study, plot, graph_object_id=place)  # it asks the plot for to_json() alone


def _plots(findings: Findings, record: StudyRecord) -> dict[str, Plot]:
    if record.kind == "range_test":
        title = f"Range test, {record.plan['optimizer']}, seed {record.plan['seed']}"
        return {f"range_test_{i}": curve_plot(title, curve) for i, curve in enumerate(record.curves)}
    if record.kind != "search":
        return {}
    peers = [search for search in findings.searches if _question(search) == _question(record)]
    return {"objective_by_lr": _lr_plot(record, peers), "best_so_far": _anytime_plot(record, findings)}


def _question(record: StudyRecord) -> tuple[str, ...]:
    """A study's schedule, optimizer and seed: studies that share all three can be compared trial by trial."""
    return tuple(str(record.plan[key]) for key in ("schedule", "optimizer", "seed"))


def _title(record: StudyRecord) -> str:
    return ", ".join((*_question(record)[:2], f"seed {record.plan['seed']}"))


def _lr_plot(record: StudyRecord, peers: Sequence[StudyRecord]) -> Plot:
    colors = strategy_colors(peer.plan["strategy"] for peer in peers)
    groups = {
        peer.plan["strategy"]: (
            colors[peer.plan["strategy"]],
            [
                (t.lr, peer.clipped(t.value) if math.isfinite(t.value) else t.value)
                for t in peer.trials
                if t.state == "COMPLETE"
            ],
        )
        for peer in peers
    }
    return objective_plot(_title(record), record.plan["objective"], groups, record.worst, record.prior)


def _anytime_plot(record: StudyRecord, findings: Findings) -> Plot:
    frame = findings.anytime()
    for key in ("schedule", "optimizer", "seed"):
        frame = frame[frame[key] == record.plan[key]]
    colors = strategy_colors(frame["strategy"])
    axis = value_axis(f"best {record.plan['objective']} so far", frame["best"].tolist())
    plot = Plot(_title(record), {"title": {"text": "steps spent, range tests included"}, "rangemode": "tozero"}, axis)
    for strategy, rows in frame.groupby("strategy", observed=True, sort=False):
        width = 3 if strategy == record.plan["strategy"] else 1.5
        style = {"shape": "hv", "width": width}
        plot.line(str(strategy), rows["steps_charged"], rows["best"], colors[str(strategy)], line=style)
    return plot


def _own_plot(study: optuna.Study, name: str) -> Plot:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    points = [(t.params[name], t.values[0]) for t in trials if name in t.params]
    finite = [value for _, value in points if math.isfinite(value)]
    worst = max if study.directions[0] == optuna.study.StudyDirection.MINIMIZE else min
    groups = {"trials": (PALETTE[0], points)}
    return objective_plot(
        f"{study.study_name}: by {name}", "objective", groups, worst(finite, default=math.nan), stored_prior(study)
    )
