"""Killed is not lost: `python benchmarks/chaos.py [--kills N] [--seed S] [--only local,fused,...]`.

Comparisons run by the real command, `lr-search compare`, on a real storage; their processes are killed (SIGKILL, some by SIGTERM or Ctrl-C) at
moments drawn from the seed: some steps further and up to 50 ms later, or just before the n-th statement of SQL. The same command is given
again and killed again, until it comes to its end. Then the trials must be those of a comparison that nothing happened to. By kind:

    kills, comparisons    so many
    lost                  trials that had ended, and later had not
    doubled               trials whose end was told twice, or whose record changed after their end
    left RUNNING          after the last command, which ended well
    frames equal          comparisons whose trials frame is that of an undisturbed one, times aside; fused to rounding, others to the bit
    ended badly           commands that ended neither well nor by the signal, or with a traceback

PostgreSQL runs on a server of its own, and is left out where none is installed. Exit code 1 where anything is not as it must be.
On 2 cores, 150 kills take some 10 minutes, most of them for the 16 on Ray.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.helpers import postgresql
from tests.helpers.chaos.campaign import KINDS, Campaign, Tally, rows
from tests.helpers.chaos.on_ray import RayCampaign

RAY = "Ray"
SHARES = {"local": 34, "median pruner": 26, "two processes": 28, "fused": 26, "PostgreSQL": 20, RAY: 16}
RAY_SHARES = {"drivers": 5, "workers": 8, "raylets": 3}


def split(kills: int, shares: dict[str, int]) -> dict[str, int]:
    """So many in all, in that proportion, at least one each.

    >>> split(15, {"a": 2, "b": 1})
    {'a': 10, 'b': 5}
    """
    whole, found, left = sum(shares.values()), dict[str, int](), kills
    for name, share in shares.items():
        found[name] = max(1, round(left * share / whole))
        whole, left = whole - share, left - found[name]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table. Returns: the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(SHARES), help="kinds, separated by commas")
    given = parser.parse_args(arguments)
    kinds = [name.strip() for name in given.only.split(",")]
    if unknown := set(kinds) - SHARES.keys():
        parser.error(f"--only must name some of {', '.join(SHARES)}, but got {', '.join(sorted(unknown))}.")
    tallies: list[Tally] = []
    with tempfile.TemporaryDirectory(prefix="lr_search-chaos-") as folder:
        for kind, kills in split(given.kills, {kind: SHARES[kind] for kind in kinds}).items():
            tallies += run(kind, kills, given.seed, Path(folder, kind))
            print(f"{kind}: done", file=sys.stderr, flush=True)
    print(rows(tallies).to_string(index=False))
    faults = {tally.kind: tally.faults() for tally in tallies if tally.faults()}
    for kind, fault in faults.items():
        print(f"{kind}: {fault}")
    return 1 if faults else 0


def run(kind: str, kills: int, seed: int, folder: Path) -> list[Tally]:
    """So many kills of one kind; none where what it needs is not installed."""
    if kind == RAY:
        return RayCampaign(folder, seed).run(**split(kills, RAY_SHARES))
    with ExitStack() as stack:
        new_url = None
        if kind == "PostgreSQL":
            if postgresql.programs() is None:
                print(f"{kind} is left out: {postgresql.PACKAGE}.")
                return []
            new_url = stack.enter_context(postgresql.running_server()).new_database
        return [Campaign(KINDS[kind], folder, seed, new_url).run(kills)]


if __name__ == "__main__":
    sys.exit(main())
