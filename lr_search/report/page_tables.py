"""The tables of the page, as text: what stands in each cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lr_search.report.cells import NOTHING, cell, measured, percent
from lr_search.results.findings import Findings
from lr_search.results.tables import COLUMNS, shown

Cells = tuple[str, ...]
_NAMES = ("strategy", "schedule", "optimizer")
_WIDEST = 24  # letters of a name or a reason in one line
SPREAD = "mean over seeds ± standard deviation; a diverged training counts as step 0"
AREA = "under the best so far against steps: 0 if the best known was there from the first step, 1 if nothing got better than at step 0"
CLOSE = "until a study's best was within 5% of the best known for its seed, of the way from step 0; – where a seed never was"
LOST = "share of what training gains that is lost at a third of the best LR; – where no such LR was tried"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        head: its heading.
        cells: (rows,) what stands in it.
        number: whether it is aligned as numbers are.
        meaning: what the heading means; empty where it says it.
    """

    head: str
    cells: Cells
    number: bool = True
    meaning: str = ""

    @property
    def width(self) -> int:
        """Letters that stay in one line."""
        return min(max(map(len, self.cells), default=0), _WIDEST)


@dataclass(frozen=True)
class Table:
    """A table of the page. The first column names the row.

    Args:
        caption: what it shows.
        columns: at least one.
    """

    caption: str
    columns: Sequence[Column]

    @property
    def rows(self) -> list[Cells]:
        """Row by row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def telling(self) -> Table:
        """Without the columns that hold nothing."""
        return replace(self, columns=[column for column in self.columns if set(column.cells) != {NOTHING}])

    @property
    def meanings(self) -> list[tuple[str, str]]:
        """Heading and meaning of the columns that need it."""
        return [(column.head, column.meaning) for column in self.columns if column.meaning]


def summary_table(findings: Findings, *, short: bool = True) -> Table:
    """What each way of searching found and cost. short: whether the objective stands in the heading without its data."""
    frame, objective = shown(findings.summary(full=True)), _objective(findings) if short else _measured(findings)
    spread = [
        f"{cell(b)} ± {cell(s, 2)}" if math.isfinite(s) else cell(b)
        for b, s in zip(frame["best"], frame["best_std"], strict=True)
    ]
    better = "lowest" if findings.lines.sign > 0 else "highest"
    columns = [
        *_names(frame),
        Column(f"best {objective}", tuple(spread), meaning=f"{better} {_measured(findings)} at the end of a study's trainings: {SPREAD}"),
        *_numbers(frame, "best_lr", "at LR", "geometric mean over seeds", digits=3),
        *_numbers(frame, "ensemble", "its snapshot ensemble", "the same of the models at the last cycle ends together"),
        *_numbers(frame, "mean_rank", "rank", "mean over seeds of the rank among all rows, 1 is best", digits=3),
        *_numbers(frame, "area", "area", AREA, digits=2),
        *_numbers(frame, "steps", "steps", "optimizer steps a study spent, its range tests included"),
        *_numbers(frame, "steps_to_close", "steps to 5%", CLOSE),
        *_numbers(frame, "faster_than_random", "× random", "how many times fewer steps than random search to the same quality", digits=2),
        *_numbers(frame, "faster_than_grid", "× grid", "how many times fewer steps than grid search to the same quality", digits=2),
        *_numbers(frame, "seconds", "seconds", "in a study's trials and range tests", digits=3),
        *_numbers(frame, "seeds", "seeds"),
        *_numbers(frame, "trials", "trials"),
        *_ended_early(frame),
    ]  # fmt: skip
    return Table("What each strategy, schedule and optimizer found and cost, best first", columns)


def pairwise_table(findings: Findings) -> Table | None:
    """How much worse each way of searching is than the best; None where no difference has an interval, which few seeds cannot give."""
    frame, objective = findings.pairwise(), _measured(findings)
    if not np.isfinite(frame["low"].to_numpy(dtype=float)).any():
        return None
    reference = ", ".join(str(frame[f"than_{name}"].iloc[0]) for name in _NAMES)
    columns = [
        *_names(frame),
        *_numbers(frame, "worse_by", f"worse by ({objective})", "mean over seeds of the difference to the best, positive where worse", digits=3),
        Column("95% interval", _ranges(frame), meaning="paired over seeds, corrected for the number of rows after Holm"),
        *_numbers(frame, "p", "p", "that such a difference comes by chance, corrected likewise", digits=2),
        Column("verdict", tuple(frame["verdict"].astype(str)), number=False),
        *_numbers(frame, "seeds", "seeds"),
    ]  # fmt: skip
    return Table(f"Difference to {reference}, the best of all that searched", columns).telling


def basins_table(findings: Findings) -> Table:
    """How much the LR matters."""
    frame, objective = findings.basins(), _measured(findings)
    spans = tuple(
        f"{low:.2g} to {high:.2g}" if math.isfinite(low) else NOTHING
        for low, high in zip(frame["low"], frame["high"], strict=True)
    )
    columns = [
        *(Column(name, tuple(frame[name].astype(str)), number=False) for name in ("schedule", "optimizer")),
        *_numbers(frame, "lr", "best LR", digits=3),
        *_numbers(frame, "value", objective, "smoothed over log LR, mean over seeds"),
        Column("about as good from", spans, meaning="within 5% of the way from the best to the objective at step 0"),
        Column("lost 3× below", tuple(percent(share) for share in frame["lost_3x_below"]), meaning=LOST),
        Column("lost 3× above", tuple(percent(share) for share in frame["lost_3x_above"]), meaning="the same at three times the best LR"),
        *_numbers(frame, "seeds", "seeds"),
        *_numbers(frame, "trials", "trials"),
    ]  # fmt: skip
    return Table("How much the learning rate matters, by schedule and optimizer", columns).telling


def confirmations_table(findings: Findings) -> Table:
    """What was trained again on fresh seeds."""
    frame = findings.confirmations
    columns = [
        *(Column(name, tuple(frame[name].astype(str)), number=False) for name in ("schedule", "optimizer")),
        *_numbers(frame, "lr", "LR", digits=3),
        *_numbers(frame, "seed", "fresh seed"),
        *_numbers(frame, "objective", _measured(findings)),
    ]
    return Table("Trained again on fresh seeds", columns)


def trials_columns(trials: pd.DataFrame) -> pd.DataFrame:
    """The columns of the trials that the page shows."""
    shapes = [name for name in trials.columns[: trials.columns.get_loc("state")] if name not in COLUMNS]
    asked = [
        *_NAMES, "seed", "number", "lr", *shapes, "outcome", "objective", "ensemble_objective", "steps", "steps_charged",
        "seconds", "reason",
    ]  # fmt: skip
    frame = shown(trials[asked])
    return frame.assign(outcome=frame["outcome"].astype("object").fillna("running").astype("str"))


def trials_data(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Columns for the page's script: the distinct cells in order, and which of them each row has (-1 where it has none).

    So a row's place in that list is what it is sorted by.
    """
    return [{"name": str(name), **_coded(frame[name])} for name in frame.columns]


def _coded(column: pd.Series) -> dict[str, Any]:
    number = pd.api.types.is_numeric_dtype(column.dtype)
    if number:
        whole = pd.api.types.is_integer_dtype(column.dtype)
        values: npt.NDArray[Any] = column.to_numpy(dtype=float, na_value=math.nan)
        there = ~np.isnan(values)
        distinct, codes = np.unique(values[there], return_inverse=True)
        words = [str(int(value)) if whole else cell(float(value)) for value in distinct]
    else:
        texts = [
            "" if value is None or value is pd.NA else str(value)
            for value in column.astype("object").where(column.notna(), "")
        ]
        there = np.array([text != "" for text in texts], dtype=bool)
        words = sorted({text for text in texts if text}, key=lambda text: (text.casefold(), text))
        places = {word: place for place, word in enumerate(words)}
        codes = np.array([places[text] for text in texts if text], dtype=int)
    placed = np.full(len(column), -1)
    placed[there] = codes
    return {"number": bool(number), "words": words, "codes": placed.tolist()}


def trials_table(data: Sequence[dict[str, Any]], rows: int) -> Table:
    """A table of the first rows of `trials_data`'s columns."""
    columns = [
        Column(
            column["name"].replace("_", " "),
            tuple(column["words"][code] if code >= 0 else NOTHING for code in column["codes"][:rows]),
            column["number"],
        )
        for column in data
    ]
    return Table("Every trial of the searches", columns)


def _objective(findings: Findings) -> str:
    """The objective's name where it is short enough for a heading, else "objective"."""
    return findings.objective if 0 < len(findings.objective) <= _WIDEST else "objective"


def _measured(findings: Findings) -> str:
    """The same with the data that it is judged on."""
    name = _objective(findings)
    return name if name == "objective" else measured(name, on_test_data=findings.on_test_data)


def _names(frame: pd.DataFrame) -> list[Column]:
    """Strategy and schedule, and the optimizer where there are several."""
    names = [name for name in _NAMES if name != "optimizer" or len(frame[name].unique()) > 1]
    return [Column(name, tuple(frame[name].astype(str)), number=False) for name in names]


def _ended_early(frame: pd.DataFrame) -> list[Column]:
    """How many trials diverged, were pruned or failed, in one column; none where all finished."""
    kinds = [name for name in ("diverged", "pruned", "failed") if frame[name].any()]
    if not kinds:
        return []
    rows = zip(*(frame[name].astype(str) for name in kinds), strict=True)
    return [Column(", ".join(kinds), tuple(" / ".join(row) for row in rows), meaning="trials that ended so")]


def _numbers(frame: pd.DataFrame, name: str, head: str, meaning: str = "", digits: int = 4) -> list[Column]:
    return [Column(head, tuple(cell(value, digits) for value in frame[name]), meaning=meaning)] if name in frame else []


def _ranges(frame: pd.DataFrame) -> Cells:
    pairs = zip(frame["low"], frame["high"], strict=True)
    return tuple(f"{low:.3g} to {high:.3g}" if math.isfinite(low) else NOTHING for low, high in pairs)
