"""Everything a report says of a comparison, each part computed once and when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import pandas as pd

from lr_search.errors import LRSearchError
from lr_search.kinds.checked import checked
from lr_search.results.anytime import Lines, anytime_frame
from lr_search.results.candidates import Candidate, basins_frame, candidates
from lr_search.results.costs import costs_frame
from lr_search.results.pairwise import pairwise_frame
from lr_search.results.recommendation import Recommendation, lack, recommend
from lr_search.results.summary import apart_remark, short_summary, summary_frame
from lr_search.results.tables import curves_frame, evaluations_frame, trials_frame
from lr_search.storage.records import StudyRecord

_KINDS = ["search", "range_test", "probe", "pilot", "confirm", "today"]


@checked
class Findings:
    """What is found in a comparison.

    Args:
        name: of the comparison.
        records: its studies, or a function that reads them when they are first asked for.
    """

    def __init__(self, name: str, records: Sequence[StudyRecord] | Callable[[], Sequence[StudyRecord]]) -> None:
        self.name, self._source = name, records
        self._frames: dict[str, pd.DataFrame] = {}

    @cached_property
    def records(self) -> list[StudyRecord]:
        """The studies, as they were in the storage."""
        return list(self._source() if callable(self._source) else self._source)

    @property
    def searches(self) -> list[StudyRecord]:
        """The studies that search."""
        return [study for study in self.records if study.kind == "search"]

    @property
    def objective(self) -> str:
        """Its name; empty where there is no study."""
        return next((str(study.plan["objective"]) for study in self.searches), "")

    @property
    def on_test_data(self) -> bool | None:
        """Whether its searches are judged on test data: never; None where a training function reports of data of its own."""
        return next((study.on_test_data for study in self.searches), False)

    @property
    def unfinished(self) -> int:
        """Trials that run."""
        return sum(trial.state == "RUNNING" for study in self.records for trial in study.trials)

    @property
    def not_begun(self) -> str:
        """How many studies have no trial yet, in a sentence; empty where all have. Those with pilots may pay for nothing else."""
        pilots = {study.search_key for study in self.records if study.kind == "pilot"}
        searches = self.searches
        left = sum(not study.trials and study.search_key not in pilots for study in searches)
        verb = "has" if left == 1 else "have"
        told = f"Not finished: {left} of {len(searches)} studies {verb} no trial yet; started again, it goes on."
        return told if left else ""

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row a trial, in the order of studies and trial numbers; see `lr_search.results.tables.trials_frame`."""
        return trials_frame(self.records)

    @cached_property
    def all_trials(self) -> pd.DataFrame:
        """The trials of every kind, in the order of kinds: `trials` with a first column `kind` (category)."""
        frames = [(kind, self.trials if kind == "search" else trials_frame(self.records, kind)) for kind in _KINDS]
        plain = [
            frame.astype(dict.fromkeys(frame.select_dtypes("category"), "object")).assign(kind=kind)
            for kind, frame in frames
            if len(frame)
        ]
        if not plain:
            return self.trials.assign(kind=pd.Categorical([], _KINDS))
        whole = pd.concat([frame.dropna(axis=1, how="all") for frame in plain], ignore_index=True)
        whole = whole.reindex(columns=["kind", *plain[0].columns.drop("kind")])
        categories = dict.fromkeys(self.trials.select_dtypes("category"), "category")
        return whole.assign(kind=pd.Categorical(whole["kind"], _KINDS)).astype(categories)

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """A row for each evaluation of a trial and each metric; see `lr_search.results.tables.evaluations_frame`."""
        return evaluations_frame(self.records)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row a step of a range test: comparison, optimizer, seed, curve, step, lr, loss, smoothed, slope, ..."""
        return curves_frame(self.records)

    @cached_property
    def confirmations(self) -> pd.DataFrame:
        """A row a training that `confirm=` added, on fresh seeds; the columns of `trials`."""
        return trials_frame(self.records, "confirm")

    def summary(self, *, full: bool = False) -> pd.DataFrame:
        """A row for each strategy x schedule x optimizer, best first.

        Args:
            full: all columns; see `lr_search.results.summary.summary_frame`. Else those that fit into 80 characters: strategy,
                schedule, optimizer (where there are several), best, best_lr, steps (rounded) and trials.
        """
        whole = self._once("summary", summary_frame)
        return whole if full else short_summary(whole)

    @property
    def apart_remark(self) -> str:
        """Why the best row of the summary and the recommendation differ, in one line; empty where they do not."""
        return apart_remark(self.summary(full=True), self.recommendation)

    def anytime(self) -> pd.DataFrame:
        """The best so far against steps spent, a row a finished trial; see `lr_search.results.anytime.anytime_frame`."""
        return self._once("anytime", anytime_frame)

    @cached_property
    def lines(self) -> Lines:
        """The best so far against steps spent, as lines."""
        return Lines(self.records)

    def basins(self) -> pd.DataFrame:
        """How the objective depends on the LR under each schedule; see `lr_search.results.candidates.basins_frame`."""
        return self._once("basins", basins_frame)

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The best LR of each schedule and optimizer."""
        return candidates(self.records)

    def costs(self) -> pd.DataFrame:
        """Where the steps of each way of searching went; see `lr_search.results.costs.costs_frame`."""
        return self._once("costs", costs_frame)

    def pairwise(self, to: Mapping[str, str] | None = None) -> pd.DataFrame:
        """How much worse each way of searching is than the best, paired over seeds; see `lr_search.results.pairwise.pairwise_frame`.

        Args:
            to: another reference, such as {"strategy": "random"}.
        """
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

    def _once(self, name: str, frame: Callable[[Sequence[StudyRecord]], pd.DataFrame]) -> pd.DataFrame:
        if name not in self._frames:
            self._frames[name] = frame(self.records)
        return self._frames[name]
