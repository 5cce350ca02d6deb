"""The command line: lr-search demo | range-test | compare | report | list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lr_search.cli import arguments
from lr_search.cli.command_support import (
    NO_ANSWER,
    FirstSeed,
    Seeds,
    Target,
    answered,
    errors_printed,
    require_writable,
    warnings_printed,
)
from lr_search.cli.list_command import list_names
from lr_search.cli.range_test_command import range_test
from lr_search.cli.report_command import Out, report, show
from lr_search.errors import TrialsFailedError
from lr_search.storage.garbage_collection import garbage_collection_paused
from lr_search.workloads.target import factory_of, find_workload, short_target

if TYPE_CHECKING:
    from lr_search.comparison.comparison import Comparison

DEFAULT_STORAGE = "sqlite:///lr_search.db"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which learning rate and which schedule to train with, how sure that is, and what finding out cost.",
)

Storage = Annotated[str, typer.Option(help="Database URL the trials are kept in.")]
BudgetOption = Annotated[float, typer.Option(help="What each study may spend, in full trainings.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Delete what the storage holds under this name, and start over.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, and train nothing.")]


def main() -> None:
    """The entry point."""
    app()


@app.command()
def demo(
    *,
    budget: BudgetOption = 8,
    seeds: Seeds = 2,
    seed: FirstSeed = 0,
    storage: Storage = DEFAULT_STORAGE,
    out: Out = Path("report"),
    fresh: Fresh = False,
    dry_run: DryRun = False,
) -> None:
    """Compare grid, random and range_test under three schedules on handwritten digits (a minute or two)."""
    with errors_printed(storage, "digits"), warnings_printed():
        with garbage_collection_paused():
            import torch

            from lr_search.comparison.compare import compare
            from lr_search.demo import AT_ONCE, workload
            from lr_search.executors import FusedExecutor

        torch.set_num_threads(1)  # so small a network gains nothing from more, and loses much on a busy machine
        if not dry_run:
            require_writable(out)
        comparison = compare(
            workload(), budget=budget, seeds=list(range(seed, seed + seeds)), storage=storage, name="digits",
            executor=FusedExecutor(width=AT_ONCE), fresh=fresh, dry_run=dry_run,
        )  # fmt: skip
        if not dry_run:
            show(comparison, out)
            _require_a_result(comparison)


@app.command()
def compare(
    target: Target,
    *,
    strategies: Annotated[str, typer.Option(help="Comma-separated; NAME=LR adds one LR.")] = "grid,random,range_test",
    schedules: Annotated[str, typer.Option(help="Comma-separated.")] = "constant,triangular2,sgdr",
    optimizers: Annotated[
        str | None, typer.Option(help="Comma-separated; see lr-search list. Default: the workload's own.")
    ] = None,
    lr_range: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="The range every strategy searches.",
            show_default="by the optimizer: 1e-4,10 for SGD and its like, 1e-6,1 for Adam's",
        ),
    ] = None,
    today: Annotated[
        str | None,
        typer.Option(
            metavar="LR[,SCHEDULE]",
            help="What you train with now, such as 3e-4 or 3e-4,cosine: the answer is told against it. "
            "It is trained once a seed, by default under the first of the schedules.",
        ),
    ] = None,
    range_test_steps: Annotated[
        int | None, typer.Option(help="Steps in a range test.", show_default="a third of the training's, 20 to 100")
    ] = None,
    budget: BudgetOption = 8,
    seeds: Seeds = 3,
    seed: FirstSeed = 0,
    pruner: Annotated[
        str, typer.Option(help="auto; an Optuna pruner by name: median, hyperband, ...; or none.")
    ] = "none",
    confirm: Annotated[
        int, typer.Option(help="Fresh seeds on which the best two, and today's, are trained again.", min=0)
    ] = 0,
    snapshots: Annotated[
        int | None,
        typer.Option(
            help="Models of a cyclic training's last cycle ends that are judged together; 0: none.",
            min=0,
            show_default="2",
        ),
    ] = None,
    search_shape: Annotated[
        bool, typer.Option("--search-shape", help="Search the schedules' shape as well: cycles, base_ratio, ...")
    ] = False,
    executor: Annotated[str, typer.Option(help="Who runs the trials; see lr-search list.")] = "local",
    executor_options: Annotated[
        str,
        typer.Option(
            metavar="NAME=VALUE,...", help="Its arguments, such as width=16 for fused, gpu=0.5,address=auto for ray."
        ),
    ] = "",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show the executor's own output too, such as Ray's.")
    ] = False,
    storage: Storage = DEFAULT_STORAGE,
    name: Annotated[str | None, typer.Option(help="Of the comparison; default: the workload's name.")] = None,
    out: Out = Path("report"),
    fresh: Fresh = False,
    dry_run: DryRun = False,
) -> None:
    """Search the learning rate in several ways under several schedules; report what was found and what it cost.

    The exit code is 0 where there is a recommendation, 1 where the trials failed, 3 where none ended well, 2 for wrong use.
    """
    called = name or short_target(target)
    with errors_printed(storage, called), warnings_printed():
        with garbage_collection_paused():
            import lr_search.comparison.compare as comparisons
            from lr_search.executors.executor_names import executor_by_name

        if not dry_run:
            require_writable(out)
        comparison = comparisons.compare(
            find_workload(target),
            strategies=arguments.strategies(strategies),
            schedules=arguments.names(schedules),
            optimizers=None if optimizers is None else arguments.names(optimizers),
            lr_range=None if lr_range is None else arguments.pair(lr_range),
            range_test=None if range_test_steps is None else {"num_steps": range_test_steps},
            today=None if today is None else arguments.today(today),
            budget=budget,
            seeds=list(range(seed, seed + seeds)),
            pruner=arguments.pruner(pruner),
            confirm=confirm,
            snapshots=snapshots,
            search_shape=search_shape,
            executor=executor_by_name(
                executor,
                arguments.options(executor_options),
                {"verbose": verbose, "factory": factory_of(target)},
            ),
            storage=storage,
            name=called,
            fresh=fresh,
            dry_run=dry_run,
        )
        if not dry_run:
            show(comparison, out)
            _require_a_result(comparison)


app.command("range-test")(range_test)


app.command()(report)


app.command("list")(list_names)


def _require_a_result(comparison: Comparison) -> None:
    """Three failures in a row stop a comparison; fewer may be all there are. Exit code 0 says that there is an answer."""
    states = set(comparison.trials["state"])
    if states == {"FAIL"}:
        raise TrialsFailedError("A comparison needs a trial that does not fail, but every one did.")
    if not answered(comparison):
        raise typer.Exit(NO_ANSWER)


if __name__ == "__main__":
    main()
