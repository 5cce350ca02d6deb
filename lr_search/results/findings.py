"""Everything a report says of a comparison, each part computed once and when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import pandas as pd

from lr_search.errors import LRSearchError
from lr_search.results.anytime import Lines, anytime_frame
from lr_search.results.candidates import Candidate, basins_frame, candidates
from lr_search.results.costs import costs_frame
from lr_search.results.pairwise import pairwise_frame
from lr_search.results.recommendation import Recommendation, lack, recommend
from lr_search.results.summary import summary_frame
from lr_search.results.tables import curves_frame, evaluations_frame, trials_frame
from lr_search.storage.records import StudyRecord

KINDS = ["search", "range_test", "probe", "confirm"]


class Findings:
    """What is found in a comparison.

    Args:
        name: of the comparison.
        records: its studies.
    """

    def __init__(self, name: str, records: Sequence[StudyRecord]) -> None:
        self.name, self.records = name, list(records)

    @property
    def searches(self) -> list[StudyRecord]:
        """The studies that search."""
        return [study for study in self.records if study.kind == "search"]

    @property
    def objective(self) -> str:
        """Its name; empty where there is no study."""
        return next((str(study.plan["objective"]) for study in self.searches), "")

    @property
    def unfinished(self) -> int:
        """Trials that run."""
        return sum(trial.state == "RUNNING" for study in self.records for trial in study.trials)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The searches' trials."""
        return trials_frame(self.records)

    @cached_property
    def all_trials(self) -> pd.DataFrame:
        """The trials of every kind, in the order of kinds: `trials` with a first column `kind` (category)."""
        frames = [(kind, self.trials if kind == "search" else trials_frame(self.records, kind)) for kind in KINDS]
        plain = [
            frame.astype(dict.fromkeys(frame.select_dtypes("category"), "object")).assign(kind=kind)
            for kind, frame in frames
            if len(frame)
        ]
        if not plain:
            return self.trials.assign(kind=pd.Categorical([], KINDS))
        whole = pd.concat([frame.dropna(axis=1, how="all") for frame in plain], ignore_index=True)
        whole = whole.reindex(columns=["kind", *plain[0].columns.drop("kind")])
        categories = dict.fromkeys(self.trials.select_dtypes("category"), "category")
        return whole.assign(kind=pd.Categorical(whole["kind"], KINDS)).astype(categories)

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """The searches' evaluations."""
        return evaluations_frame(self.records)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The range tests, step by step."""
        return curves_frame(self.records)

    @cached_property
    def confirmations(self) -> pd.DataFrame:
        """The trainings on fresh seeds."""
        return trials_frame(self.records, "confirm")

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row for each way of searching."""
        return summary_frame(self.records)

    @cached_property
    def anytime(self) -> pd.DataFrame:
        """The best so far against steps."""
        return anytime_frame(self.records)

    @cached_property
    def lines(self) -> Lines:
        """The same, as lines."""
        return Lines(self.records)

    @cached_property
    def basins(self) -> pd.DataFrame:
        """How the objective depends on the LR."""
        return basins_frame(self.records)

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The best LR of each schedule and optimizer."""
        return candidates(self.records)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Where the steps went."""
        return costs_frame(self.records)

    def pairwise(self, to: Mapping[str, str] | None = None) -> pd.DataFrame:
        """Differences to the best, or to `to`."""
        return pairwise_frame(self.records, to)

    @cached_property
    def recommendation(self) -> Recommendation | None:
        """What to train with; None where no trial ended well."""
        try:
            return recommend(self.records)
        except LRSearchError:
            return None

    @property
    def lack(self) -> str:
        """Why nothing can be recommended."""
        return lack(self.records)
