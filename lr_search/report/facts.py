"""What was done in a comparison, under what, and what failed: pairs of a name and a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lr_search.results.findings import Findings
from lr_search.storage.environment import environment
from lr_search.storage.records import StudyRecord

Facts = list[tuple[str, str]]
UNRECORDED = "The runs left no record of their environment; this report was made under"


@dataclass(frozen=True)
class Surroundings:
    """An environment that studies were run under. Args: title: which and of how many studies; facts: what it was."""

    title: str
    facts: Facts


def steps_taken(findings: Findings, *kinds: str) -> int:
    """Optimizer steps of the studies of those kinds; a range test that several share counts once."""
    return sum(trial.steps for study in findings.records if study.kind in kinds for trial in study.trials)


def seconds_taken(findings: Findings) -> float:
    """Seconds in the trials and range tests of all studies."""
    return sum(float(t.outcome.get("seconds", 0.0)) for study in findings.records for t in study.trials)


def lr_words(findings: Findings, schedule: str) -> str:
    """What an LR under that schedule is called: a peak only where the LR moves."""
    plan = next((study.plan for study in findings.searches if study.plan["schedule"] == schedule), {})
    flat = len(set((plan.get("shape") or {}).get("lr", (0, 1)))) == 1 and not plan.get("controller")
    return "learning rate" if flat else "peak learning rate"


def facts(findings: Findings) -> Facts:
    """What was done and what it cost."""
    search = findings.searches
    tests = [t for s in findings.records if s.kind == "range_test" for t in s.trials]
    probes = [(s, t) for s in findings.records if s.kind == "probe" for t in s.trials]
    pilots = [t for s in findings.records if s.kind == "pilot" for t in s.trials]
    confirmed = [t for s in findings.records if s.kind == "confirm" for t in s.trials]
    today = [t for s in findings.records if s.kind == "today" for t in s.trials]
    return [
        ("objective", f"{search[0].plan['objective']} ({search[0].plan['direction']})" if search else ""),
        ("studies", str(len(search))),
        ("trials", trials_text(findings)),
        ("range tests", f"{len(tests)}"),
        *((f"probe, {s.plan['optimizer']}, seed {s.plan['seed']}", t.outcome.get("reason", "")) for s, t in probes),
        *([("pilots", f"{len(pilots)}, {sum(t.steps for t in pilots):,} steps")] if pilots else []),
        *([("trainings to confirm", str(len(confirmed)))] if confirmed else []),
        *([("trainings with today's learning rate", str(len(today)))] if today else []),
        *_lost_ensembles(search),
        ("steps taken", f"{steps_taken(findings, 'search', 'range_test', 'probe', 'pilot', 'confirm', 'today'):,}"),
        ("time in trials", f"{seconds_taken(findings):,.0f} s"),
    ]


def trials_text(findings: Findings) -> str:
    """How many trials there are, and how they ended."""
    counts = findings.trials["outcome"].astype("object").fillna("running").value_counts()
    ended = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items() if count)
    return f"{len(findings.trials):,} ({ended})" if ended else "0"


def _lost_ensembles(search: Sequence[StudyRecord]) -> Facts:
    """How many ensembles could not be judged, and why the last could not."""
    errors = [e["error"] for s in search for t in s.trials if "error" in (e := t.outcome.get("ensemble", {}))]
    return [("ensembles that could not be judged", f"{len(errors)}: {errors[-1]}")] if errors else []


def failures(records: Sequence[StudyRecord]) -> Facts:
    """The last traceback of each study with failed trials."""
    errors = {}
    for study in records:
        for trial in study.trials:
            if trial.outcome.get("error"):
                errors[study.name] = (f"{study.name}, trial {trial.number}", str(trial.outcome["error"]))
    return list(errors.values())


def shapes(findings: Findings) -> Facts:
    """Each schedule's shape."""
    plans = {s.plan["schedule"]: s.plan for s in findings.searches}
    texts = []
    for name, plan in plans.items():
        searched = ", ".join(plan.get("search_shape") or ())
        of = lr_words(findings, name).removesuffix(" learning rate")
        more = f"; searched: {searched}" if searched else ""
        texts.append((name, f"{plan['schedule_shape']} (numbers for a {of} of 1{more})"))
    return texts


def run_facts(findings: Findings) -> Facts:
    """Seeds, and the devices of the trials with how many each ran."""
    trials = findings.trials
    seeds = ", ".join(str(seed) for seed in sorted({study.plan["seed"] for study in findings.searches}))
    devices = trials["device"].dropna().value_counts()
    ran = ", ".join(f"{name}: {count:,} trial{'s' * (count != 1)}" for name, count in devices.items() if count)
    fresh = ", ".join(str(seed) for seed in sorted({int(seed) for seed in findings.confirmations["seed"]}))
    return [
        ("seeds", seeds or "none"),
        *([("fresh seeds", fresh)] if fresh else []),
        ("devices of trials", ran or "none"),
    ]


def surroundings(findings: Findings) -> list[Surroundings]:
    """Each environment that the studies were run under, with how many; where none is recorded, that of this report."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    unrecorded = 0
    for study in findings.records:
        recorded = study.plan.get("environment")
        if not recorded:
            unrecorded += 1
            continue
        rest = tuple((str(key), str(value)) for key, value in recorded.items() if key != "since" and value)
        groups.setdefault(rest, []).append(str(recorded.get("since", "")))
    if not groups:
        own = environment()
        return [Surroundings(UNRECORDED, [(k, v) for k, v in own.items() if k not in ("command", "since") and v])]
    several = len(groups) > 1 or unrecorded > 0
    environments = []
    for rest, since in sorted(groups.items(), key=lambda pair: min(pair[1])):
        title = f"{len(since)} stud{'ies' if len(since) != 1 else 'y'}" if several else ""
        began = min(since)
        environments.append(Surroundings(title, [*([("since", began)] if began else []), *rest]))
    left = [Surroundings(f"{unrecorded} stud{'ies' if unrecorded != 1 else 'y'} without a record of it", [])]
    return [*environments, *left] if unrecorded else environments
