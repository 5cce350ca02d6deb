"""lr-search range-test: one LR, bounds for cycles, how far to trust them, and a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lr_search.cli.command_support import FirstSeed, Target, errors_printed, require_file
from lr_search.errors import LRSearchError, OutputError, TrialsFailedError, error_text, unknown_name
from lr_search.workloads.target import find_workload

if TYPE_CHECKING:
    from lr_search.curves.curve import LRCurve

PICTURES = (".png", ".svg", ".pdf")


def range_test(
    target: Target,
    *,
    start_lr: Annotated[float, typer.Option(help="LR at the first step.")] = 1e-7,
    end_lr: Annotated[
        float | None, typer.Option(help="LR at the last step.", show_default="10, and on while nothing breaks")
    ] = None,
    num_steps: Annotated[
        int | None, typer.Option(help="Steps in the ramp.", show_default="a third of the training's, 20 to 100")
    ] = None,
    ramp: Annotated[str, typer.Option(help="exponential or linear.")] = "exponential",
    extend: Annotated[
        bool | None,
        typer.Option(
            help="Move the ramp's ends where they are too near.", show_default="its end, unless --end-lr is given"
        ),
    ] = None,
    gain_ratio: Annotated[
        bool | None,
        typer.Option(
            help="Measure the gain ratio at every step.", show_default="where it changes, if the loss can be repeated"
        ),
    ] = None,
    valid_batches: Annotated[int, typer.Option(help="Validation batches to evaluate at every step.", min=0)] = 0,
    schedule: Annotated[
        str | None,
        typer.Option(help="Under which the LR is to be used; see lr-search list.", show_default="one that decays"),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="How the LR is read off the curve; see lr-search list.")] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds to pool.", min=1)] = 1,
    seed: FirstSeed = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve to this file (.png, .svg, .pdf).")] = None,
    lr_against_step: Annotated[
        bool, typer.Option("--lr-against-step", help="Add the LR at each step to the picture.")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Write the curve to this file, as JSON.")] = None,
) -> None:
    """Train once while the LR rises every step, and suggest an LR, bounds for cycles, and how far to trust them."""
    with errors_printed():
        workload = find_workload(target)
        require_file(save, "--save")
        require_file(plot, "--plot", PICTURES)
        _require_names(rule, schedule)
        try:
            curve = workload.range_test(
                seed, seeds=None if seeds == 1 else range(seed, seed + seeds),
                start_lr=start_lr, end_lr=end_lr, num_steps=num_steps, ramp=ramp,  # type: ignore[arg-type]
                extend=extend, gain_ratio=gain_ratio, valid_batches=valid_batches,
            )  # fmt: skip
        except LRSearchError:
            raise
        except Exception as error:
            raise TrialsFailedError(
                f"The range test must run to its end, but it raised {error_text(error)}."
            ) from error
        curve = curve.planned(schedule)
        for name, text in _lines(curve, rule):
            typer.echo(f"{name:<15}{text}")
        if save is not None:
            save.parent.mkdir(parents=True, exist_ok=True)
            curve.save(save)
            typer.echo(f"{'curve':<15}{save}")
        if plot is not None:
            _plot(curve, plot, rule, lr_against_step=lr_against_step)
            typer.echo(f"{'picture':<15}{plot}")


def _require_names(rule: str | None, schedule: str | None) -> None:
    """Refuse a rule or a schedule that does not exist before the training, not after."""
    from lr_search.curves.suggest import RULES
    from lr_search.curves.training_plan import Plan

    Plan(schedule=schedule)

    if rule is not None and rule not in RULES:
        raise unknown_name("rule", rule, RULES)


def _lines(curve: LRCurve, rule: str | None) -> Iterator[tuple[str, str]]:
    """What is read off a curve, line by line: (what, the answer)."""
    from lr_search.curves.gain_crossing import gain_crossing
    from lr_search.curves.phases import has_descent
    from lr_search.curves.remarks import ANOTHER_PLAN

    suggestion, phases, (base_lr, max_lr) = curve.suggest(rule), curve.phases(), curve.bounds()
    factor = 10**suggestion.log10_std
    yield "learning rate", f"{suggestion.lr:.3g}, give or take a factor of {factor:.2g}"
    yield "status", f"{suggestion.status} (rule {suggestion.rule})"
    what = "base_lr and max_lr for cycles" if has_descent(curve) else "of a loss that does not descend: not for cycles"
    yield "bounds", f"{base_lr:.3g} to {max_lr:.3g} ({what})"
    below = "no descent stands out" if phases.descent_lr is None else f"too slow below {phases.descent_lr:.3g}"
    above = "no blow-up" if phases.blow_up_lr is None else f"blowing up above {phases.blow_up_lr:.3g}"
    yield "phases", f"{below}, {above}"
    half, zero = (gain_crossing(curve, level) for level in (0.5, 0.0))
    if half is not None:
        edge = "" if zero is None else f", 0 at {zero:.3g} (edge of stability)"
        yield "gain ratio", f"1/2 at {half:.3g}{edge}"
    if len(curve.members) > 1:
        suggested = ", ".join(f"{member.suggest(rule).lr:.3g}" for member in curve.members)
        yield "seeds", f"{len(curve.members)}, alone they suggest {suggested}"
    yield "cost", _cost(curve)
    yield "reason", suggestion.reason.replace(ANOTHER_PLAN, "--schedule")


def _cost(curve: LRCurve) -> str:
    forwards = curve.steps_charged - curve.num_steps
    extra = f" ({curve.num_steps} taken; {forwards} for forward passes beyond those)" if forwards else ""
    return f"{curve.steps_charged} steps{extra}"


def _plot(curve: LRCurve, path: Path, rule: str | None, *, lr_against_step: bool) -> None:
    figure = curve.plot(rule=rule, lr_against_step=lr_against_step).figure.figure
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise OutputError(f"--plot must name a file that can be written, but got {path}: {error.strerror}.") from error
