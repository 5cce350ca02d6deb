"""The judge's tables, as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from judge_priors import PriorRun
from judge_regrets import WITHIN, RegretCurve
from judge_rules import PRESENT
from judge_runs import Run
from judge_searches import after_trainings, grid_row
from judge_statistics import Estimate, difference, estimate, task_means

STATUSES = ("ok", "noisy", "flat", "at_edge", "diverged_at_start")
BAD, LOST = 0.2, 0.5


def heading(title: str, truths: Sequence[RegretCurve], seeds: int) -> str:
    """What the tables under it are of."""
    censored = sum(truth.best is None for truth in truths)
    told = f", {censored} of {len(truths)} best LRs at the grid's end" if censored else ""
    return f"{title}: {len({truth.task for truth in truths})} tasks, {seeds} seeds{told}"


def regret_table(runs: Sequence[Run]) -> str:
    """A line a row: its regret, and beside the present rule's."""
    rows = by_row(runs)
    present = task_means((run.task, run.regret) for run in rows[PRESENT])
    lines = [
        f"{'':<22}{'mean':>6}  {'95% interval':<14}{'<=5%':>6}{'>.2':>6}{'>.5':>6}{'beyond':>8}   to the present rule"
    ]
    for row, of_row in rows.items():
        means = task_means((run.task, run.regret) for run in of_row)
        beyond = share(run.outside for run in of_row)
        regrets = np.array([run.regret for run in of_row])
        line = (
            f"{row:<22}{regret_cell(estimate(list(means.values())))}{share(regrets <= WITHIN):>6}{share(regrets > BAD):>6}"
            f"{share(regrets > LOST):>6}{beyond:>8}"
        )
        if row != PRESENT:
            apart, shared = difference(means, present)
            line += f"   {signed(apart)}" + ("" if shared == len(present) else f"   of {shared} tasks")
        lines.append(line)
    return "\n".join(lines)


def overview(groups: Mapping[str, tuple[Sequence[Run], Sequence[PriorRun]]]) -> str:
    """A line a schedule and length: the present rule, what three and four trainings come to, and how often the prior holds the best LR."""
    after, grid = after_trainings(3), grid_row(4)
    lines = [
        f"{'present rule':<26}{'mean':>6}  {'95% interval':<14}{'<=5%':>6}{'>.2':>6}{after:>21}{grid:>15}{'prior holds':>13}"
    ]
    for title, (runs, priors) in groups.items():
        rows = by_row(runs)
        means = task_means((run.task, run.regret) for run in rows[PRESENT])
        regrets = np.array([run.regret for run in rows[PRESENT]])
        spent, spread = (np.mean([run.regret for run in rows[row]]) for row in (after, grid))
        known = [prior.holds_best for prior in priors if prior.truth.best is not None]
        lines.append(
            f"{title:<26}{regret_cell(estimate(list(means.values())))}{share(regrets <= WITHIN):>6}{share(regrets > BAD):>6}"
            f"{spent:>21.3f}{spread:>15.3f}{share(known) if known else '':>13}"
        )
    return "\n".join(lines)


def by_row(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Row -> its runs, in the order in which rows came."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.row, []).append(run)
    return found


def status_table(runs: Sequence[Run]) -> str:
    """The present rule's regret by its status."""
    present = [run for run in runs if run.row == PRESENT]
    lines = [
        f"{'by status':<22}{'mean':>6}  {'95% interval':<14}{'<=5%':>6}{'>.2':>6}{'>.5':>6}{'runs':>8}{'tasks':>7}"
    ]
    for status in STATUSES:
        found = [run for run in present if run.status == status]
        if found:
            regrets = np.array([run.regret for run in found])
            means = task_means((run.task, run.regret) for run in found)
            lines.append(
                f"{status:<22}{regret_cell(estimate(list(means.values())))}{share(regrets <= WITHIN):>6}{share(regrets > BAD):>6}"
                f"{share(regrets > LOST):>6}{len(found):>8}{len(means):>7}"
            )
    misled = [run for run in present if run.status == "ok" and run.regret > BAD]
    names = ", ".join(dict.fromkeys(run.task for run in misled)) or "none"
    lines.append(f"ok and above .2: {len(misled)} of {len(present)} runs, tasks: {names}")
    return "\n".join(lines)


def prior_table(priors: Sequence[PriorRun], widths: Mapping[str, float], fitted_on: str) -> str:
    """The prior's 80% interval and one of a constant width; where a best LR is censored neither is judged."""
    known = [prior for prior in priors if prior.truth.best is not None]
    if not known:
        return "the prior's 80% interval: no best LR is known"
    if known[0].truth.schedule not in widths:
        return f"the prior's 80% interval: no constant width could be {fitted_on}"
    constant = [prior.of_width(widths[prior.truth.schedule]) for prior in known]
    lines = [
        f"{'80% interval':<22}{'score':>6}  {'95% interval':<14}{'width':>6}{'holds the best LR':>20}{'an LR of <=5%':>16}{'only such':>12}",
        prior_line("prior", known),
        prior_line("constant width", constant),
    ]
    apart, _ = difference(scores(known), scores(constant))
    left_out = len(priors) - len(known)
    lines.append(
        f"prior's score - constant width's: {signed(apart)}; the width: {fitted_on}"
        + (f"; {left_out} of {len(priors)} intervals left out, their best LR is censored" if left_out else "")
    )
    return "\n".join(lines)


def prior_line(row: str, priors: Sequence[PriorRun]) -> str:
    """A row of the prior's table."""
    found = estimate(list(scores(priors).values()))
    interval = f"{found.low:.2f} to {found.high:.2f}"
    return (
        f"{row:<22}{found.mean:>6.2f}  {interval:<14}{np.mean([p.width for p in priors]):>6.2f}"
        f"{share(p.holds_best for p in priors):>20}{share(p.holds_good for p in priors):>16}{share(p.all_good for p in priors):>12}"
    )


def scores(priors: Sequence[PriorRun]) -> dict[str, float]:
    """Task -> mean interval score."""
    return task_means((prior.truth.task, prior.score) for prior in priors)


def per_task(runs: Sequence[Run], truths: Sequence[RegretCurve]) -> str:
    """A line a task: the present rule's status, and at each length what it suggests, the best LR and the mean regret."""
    lines = [f"{'task':<40}{'status':<18}at each length: LR, best LR (* at the grid's end), regret"]
    for task in dict.fromkeys(truth.task for truth in truths):
        mine = [run for run in runs if run.task == task and run.row == PRESENT]
        of_task = [truth for truth in truths if truth.task == task]
        status = max(STATUSES, key=[run.status for run in mine].count)
        cells = [length_cell(truth, [run for run in mine if run.length == truth.length]) for truth in of_task]
        lines.append(f"{task:<40}{status:<18}{'   '.join(cells)}")
    return "\n".join(lines)


def length_cell(truth: RegretCurve, runs: Sequence[Run]) -> str:
    """The geometric mean of the LRs of a task at one length, the best LR, and what they lose."""
    lr = 10 ** np.mean([run.place for run in runs if run.place is not None])
    best = 10 ** truth.places[int(np.argmax(truth.drops))]
    lost = np.mean([run.regret for run in runs])
    return f"{truth.length}: {lr:.1e} {best:.1e}{'*' if truth.best is None else ' '} {lost:.2f}"


def regret_cell(found: Estimate) -> str:
    """Mean and interval."""
    interval = f"{found.low:.3f} to {found.high:.3f}"
    return f"{found.mean:>6.3f}  {interval:<14}"


def signed(found: Estimate) -> str:
    """A difference and its interval."""
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def share(which: Iterable[bool]) -> str:
    """In per cent."""
    return f"{np.mean(list(which)):.0%}"
