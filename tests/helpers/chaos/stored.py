"""What a comparison's storage holds, read past the library; and what became of it in the end."""

import collections
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import sqlalchemy

import lr_search as lrs
from tests.helpers.chaos.child import FINISHES
from tests.helpers.chaos.command import NAME
from tests.helpers.ray_drivers import TIMES

Key = tuple[str, int]  # a study's name and a trial's number
TRIALS = sqlalchemy.text("""
    SELECT study_name, number, state, value_json FROM trials JOIN studies USING (study_id)
    LEFT JOIN trial_user_attributes ON trial_user_attributes.trial_id = trials.trial_id AND key = 'record'
""")


@dataclass(frozen=True)
class Stored:
    """The trials at one moment.

    Args:
        finished: the record of each trial that has ended: steps, times, the process that ran it, evaluations.
        running: those that run.
    """

    finished: dict[Key, str] = field(default_factory=dict)
    running: frozenset[Key] = frozenset()


def stored(url: str) -> Stored:
    """What is there; nothing where the tables are not made yet."""
    if url.startswith("sqlite:///"):  # to close the last connection that may write would tidy up after the killed
        url = f"sqlite:///file:{Path(url.removeprefix('sqlite:///'))}?mode=ro&uri=true"
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            rows = connection.execute(TRIALS).all()
    except sqlalchemy.exc.DBAPIError:
        return Stored()
    finally:
        engine.dispose()
    ended = {
        (study, number): str(record) for study, number, state, record in rows if state not in ("RUNNING", "WAITING")
    }
    return Stored(ended, frozenset((study, number) for study, number, state, _ in rows if state == "RUNNING"))


@dataclass
class Seen:
    """What was seen to have ended, from look to look.

    Args:
        url: of the storage.
        folder: in which its commands run.
    """

    url: str
    folder: Path
    known: dict[Key, str] = field(default_factory=dict)
    lost: set[Key] = field(default_factory=set)
    doubled: set[Key] = field(default_factory=set)

    def look(self) -> Stored:
        """Compare with what was there: a trial that has gone is lost, one with another record was run and told again."""
        now = stored(self.url)
        self.lost |= self.known.keys() - now.finished.keys()
        self.doubled |= {key for key, record in self.known.items() if now.finished.get(key, record) != record}
        self.known |= now.finished
        return now

    def told_twice(self) -> set[Key]:
        """Trials that commands in the folder have told the end of more than once."""
        file = self.folder / FINISHES
        lines = file.read_text().splitlines() if file.exists() else []
        names = [name for name, count in collections.Counter(lines).items() if count > 1]
        return {(study, int(number)) for study, _, number in (name.rpartition("/") for name in names)}


def frame(url: str) -> pd.DataFrame:
    """The comparison's trials, without what differs from run to run."""
    return lrs.load(url, NAME).trials.drop(columns=TIMES)


def equal(one: pd.DataFrame, other: pd.DataFrame, *, exactly: bool = True) -> bool:
    """Whether both are the same, to the bit or to rounding."""
    try:
        pd.testing.assert_frame_equal(
            one, other, check_exact=exactly, **({} if exactly else {"rtol": 1e-4, "atol": 1e-6})
        )
    except AssertionError:
        return False
    return True
