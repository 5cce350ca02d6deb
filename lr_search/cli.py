"""The command line: lr-search demo | range-test | compare | report | list."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lr_search import arguments
from lr_search.errors import InvalidInputError, LRSearchError, OutputError, TrialsFailedError, told

if TYPE_CHECKING:
    from lr_search.comparison import Comparison

DEFAULT_STORAGE = "sqlite:///lr_search.db"
FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
PICTURES = (".png", ".svg", ".pdf")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which learning rate and which schedule to train with, how sure that is, and what finding out cost.",
)

Target = Annotated[str, typer.Argument(metavar="PKG.MOD:WORKLOAD", help="A workload, or a function that returns one.")]
Storage = Annotated[str, typer.Option(help="Database URL the trials are kept in.")]
Out = Annotated[Path, typer.Option(help="Folder the report is written to.")]
Budget = Annotated[float, typer.Option(help="What each study may spend, in full trainings.")]
Seeds = Annotated[int, typer.Option(help="How many seeds.", min=1)]
Seed = Annotated[int, typer.Option(help="The first seed.", min=0)]
Fresh = Annotated[bool, typer.Option("--fresh", help="Delete what the storage holds under this name, and start over.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, and train nothing.")]


def main() -> None:
    """The entry point."""
    app()


@app.command()
def demo(
    *,
    budget: Budget = 8,
    seeds: Seeds = 2,
    seed: Seed = 0,
    storage: Storage = DEFAULT_STORAGE,
    out: Out = Path("report"),
    fresh: Fresh = False,
    dry_run: DryRun = False,
) -> None:
    """Compare grid, random and range_test under three schedules on handwritten digits (about 2 minutes)."""
    with _errors_told(storage, "digits"):
        import torch

        from lr_search.comparison import compare
        from lr_search.demo import workload

        torch.set_num_threads(1)  # so small a network gains nothing from more, and loses much on a busy machine
        if not dry_run:
            _require_writable(out)
        comparison = compare(
            workload(), budget=budget, seeds=list(range(seed, seed + seeds)), storage=storage, name="digits",
            fresh=fresh, dry_run=dry_run,
        )  # fmt: skip
        if not dry_run:
            _show(comparison, out)
            _require_a_result(comparison)


@app.command()
def compare(
    target: Target,
    *,
    strategies: Annotated[
        str, typer.Option(help="Comma-separated; NAME=LR adds the one LR used today.")
    ] = "grid,random,range_test",
    schedules: Annotated[str, typer.Option(help="Comma-separated.")] = "constant,triangular2,sgdr",
    lr_range: Annotated[str, typer.Option(metavar="LOW,HIGH", help="The range every strategy searches.")] = "1e-5,10",
    range_test_steps: Annotated[int, typer.Option(help="Steps in a range test.")] = 100,
    budget: Budget = 8,
    seeds: Seeds = 3,
    seed: Seed = 0,
    pruner: Annotated[str, typer.Option(help="An Optuna pruner by name: median, hyperband, ...; or none.")] = "none",
    confirm: Annotated[int, typer.Option(help="Fresh seeds on which the best two are trained again.", min=0)] = 0,
    executor: Annotated[str, typer.Option(help="Who runs the trials; see lr-search list.")] = "local",
    storage: Storage = DEFAULT_STORAGE,
    name: Annotated[str | None, typer.Option(help="Of the comparison; default: the workload's name.")] = None,
    out: Out = Path("report"),
    fresh: Fresh = False,
    dry_run: DryRun = False,
) -> None:
    """Search the learning rate in several ways under several schedules; report what was found and what it cost."""
    called = name or target
    with _errors_told(storage, called):
        import lr_search.comparison as comparisons

        if not dry_run:
            _require_writable(out)
        comparison = comparisons.compare(
            arguments.find_workload(target),
            strategies=arguments.strategies(strategies),
            schedules=arguments.names(schedules),
            lr_range=arguments.pair(lr_range),
            range_test={"num_steps": range_test_steps},
            budget=budget,
            seeds=list(range(seed, seed + seeds)),
            pruner=arguments.pruner(pruner),
            confirm=confirm,
            executor=comparisons.executor_by_name(executor),
            storage=storage,
            name=called,
            fresh=fresh,
            dry_run=dry_run,
        )
        if not dry_run:
            _show(comparison, out)
            _require_a_result(comparison)


@app.command("range-test")
def range_test(
    target: Target,
    *,
    start_lr: Annotated[float, typer.Option(help="LR at the first step.")] = 1e-7,
    end_lr: Annotated[float, typer.Option(help="LR at the last step.")] = 10.0,
    num_steps: Annotated[int, typer.Option(help="Steps in the ramp.")] = 100,
    ramp: Annotated[str, typer.Option(help="exponential or linear.")] = "exponential",
    rule: Annotated[str | None, typer.Option(help="How the LR is read off the curve; see lr-search list.")] = None,
    seed: Seed = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve to this file (.png, .svg, .pdf).")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the curve to this file, as JSON.")] = None,
) -> None:
    """Train once while the LR rises every step, and suggest an LR, bounds for cycles, and how far to trust them."""
    with _errors_told():
        workload = arguments.find_workload(target)
        _require_file(save, "--save")
        _require_file(plot, "--plot", PICTURES)
        try:
            curve = workload.range_test(seed, start_lr=start_lr, end_lr=end_lr, num_steps=num_steps, ramp=ramp)  # type: ignore[arg-type]
        except LRSearchError:
            raise
        except Exception as error:
            raise TrialsFailedError(f"The range test must run to its end, but it raised {told(error)}.") from error
        suggestion = curve.suggest(rule)
        base_lr, max_lr = curve.bounds()
        typer.echo(f"learning rate  {suggestion.lr:.3g}   ({suggestion.rule}, {suggestion.status})")
        typer.echo(f"bounds         {base_lr:.3g} to {max_lr:.3g}   (base_lr and max_lr for cycles)")
        typer.echo(f"cost           {curve.num_steps} steps")
        typer.echo(suggestion.reason)
        if save is not None:
            save.parent.mkdir(parents=True, exist_ok=True)
            curve.save(save)
        if plot is not None:
            _plot(curve, plot)


@app.command()
def report(
    storage: Annotated[str, typer.Argument(metavar="STORAGE", help="Database URL, such as sqlite:///lr_search.db.")],
    name: Annotated[
        str | None, typer.Argument(help="Of the comparison; may be left out where there is one only.")
    ] = None,
    *,
    out: Out = Path("report"),
) -> None:
    """Write the report of a comparison, finished or not."""
    with _errors_told():
        from lr_search.comparison import load
        from lr_search.report.records import comparison_names
        from lr_search.storage import open_storage, quiet_optuna

        with quiet_optuna():
            names = comparison_names(open_storage(storage, must_exist=True))
        if name is None and len(names) != 1:
            raise InvalidInputError(
                f"NAME must say which comparison, but got none; {storage} holds: {', '.join(names) or 'none'}."
            )
        _show(load(storage, names[0] if name is None else name), out)


@app.command("list")
def list_names() -> None:
    """Print the strategies, schedules, rules and executors there are: built in and plugged in."""
    with _errors_told():
        from lr_search import plugins
        from lr_search.suggest import DEFAULT_RULE, RULES

        for title, group in (("strategies", plugins.STRATEGIES), ("schedules", plugins.SCHEDULES)):
            _print_group(title, group)
        typer.echo("rules")
        for name, rule in RULES.items():
            default = " (default)" if name == DEFAULT_RULE else ""
            typer.echo(f"  {name:<14}{_first_line(rule)}{default}")
        _print_group("executors", plugins.EXECUTORS)


def _print_group(title: str, group: str) -> None:
    from lr_search import plugins

    typer.echo(title)
    for name, point in plugins.registered(group).items():
        package = point.dist.name if point.dist is not None else "?"
        origin = "" if package == "lr-search" else f" [{package}]"
        found = plugins.load(group, name)
        text = getattr(found, "describe", "") if title == "strategies" else _first_line(found)
        typer.echo(f"  {name:<14}{text}{origin}")


def _first_line(value: Any) -> str:
    return (value.__doc__ or "").strip().partition("\n")[0]


def _require_writable(folder: Path, option: str = "--out") -> None:
    """Find out before hours of training, not after; makes no folder yet."""
    try:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        probe = there / f".lr_search_probe_{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"The output must go to a folder that can be written, but got {folder}: {error.strerror}. Give another with {option}."
        ) from error


def _require_file(path: Path | None, option: str, endings: tuple[str, ...] = ()) -> None:
    """The same for a file."""
    if path is None:
        return
    if endings and path.suffix.lower() not in endings:
        raise OutputError(f"{option} must name a file that ends in {', '.join(endings)}, but got {path}.")
    if path.is_dir():
        raise OutputError(f"{option} must name a file, but got {path}, which is a folder.")
    _require_writable(path.parent, option)


def _plot(curve: Any, path: Path) -> None:
    from lr_search.report.curve_figure import plot_curve

    figure = plot_curve(curve).get_figure(root=True)
    assert figure is not None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise OutputError(f"--plot must name a file that can be written, but got {path}: {error.strerror}.") from error
    typer.echo(f"picture        {path}")


def _show(comparison: Comparison, out: Path) -> None:
    """Print the summary and the winner, and write the report."""
    from lr_search.report.page import recommendation_or_none
    from lr_search.report.recommendation import lack

    page = comparison.save(out)
    typer.echo(comparison.summary().to_string(index=False, float_format="{:.4g}".format, na_rep="-"))
    best = recommendation_or_none(comparison.records)
    if best is None:
        typer.echo(f"\n{lack(comparison.records)}")
    else:
        typer.echo(f"\nTrain with: {best.schedule}, peak learning rate {best.lr:.3g}, {best.optimizer}")
        typer.echo(f"Expect {best.value:.4g}: {best.reason}")
    typer.echo(f"Report: {page}")


def _require_a_result(comparison: Comparison) -> None:
    """Three failures in a row stop a comparison; fewer may be all there are."""
    states = set(comparison.trials["state"])
    if states == {"FAIL"}:
        raise TrialsFailedError("A comparison needs a trial that does not fail, but every one did.")


@contextlib.contextmanager
def _errors_told(storage: str | None = None, name: str | None = None) -> Iterator[None]:
    """A user's mistake becomes a message and an exit code, Ctrl-C a way to go on."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("\nStopped.", err=True)
        if storage is not None:
            again = shlex.join(["lr-search", *(word for word in sys.argv[1:] if word != "--fresh")])
            typer.echo(f"What is finished is kept in {storage}. Go on with:  {again}", err=True)
            typer.echo(f"See it as it is with:  {shlex.join(['lr-search', 'report', storage, name or ''])}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except TrialsFailedError as error:
        typer.echo(f"error: {error}", err=True)
        if storage is not None:
            typer.echo(f"See them with:  {shlex.join(['lr-search', 'report', storage, name or ''])}", err=True)
        raise typer.Exit(FAILED) from None
    except LRSearchError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(WRONG_USE) from None


if __name__ == "__main__":
    main()
