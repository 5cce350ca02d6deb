"""lr-search report: what was found so far, as a table, for other programs, or as a page; once or again and again."""

from __future__ import annotations

import shutil
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lr_search.cli.command_support import NO_ANSWER, answered, errors_printed, warnings_printed
from lr_search.errors import InvalidInputError
from lr_search.storage.garbage_collection import garbage_collection_paused

if TYPE_CHECKING:
    from lr_search.comparison.comparison import Comparison

Out = Annotated[Path, typer.Option(help="Folder the report is written to.")]
PAGE_SECONDS = 30.0  # between two pages of a comparison that runs: drawing them takes time from it
QUIET_LOOKS = 3  # looks in a row at which nobody is at work, after which watching ends
PIPED_COLUMNS = 80  # where there is no terminal, nor COLUMNS
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


class Format(StrEnum):
    """What is printed."""

    TEXT = "text"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


def report(
    storage: Annotated[
        str,
        typer.Argument(
            metavar="STORAGE", help="Database URL, such as sqlite:///lr_search.db, or a folder of Parquet files."
        ),
    ],
    name: Annotated[
        str | None, typer.Argument(help="Of the comparison; may be left out where there is one only.")
    ] = None,
    *,
    also: Annotated[
        list[str] | None,
        typer.Option(metavar="STORAGE", help="Another storage to be put together with it; may be repeated."),
    ] = None,
    out: Out = Path("report"),
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="text: a table, and the report is written; the others are printed, and nothing is written."
        ),
    ] = Format.TEXT,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again while the comparison runs; Ctrl-C ends it.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 5.0,
) -> None:
    """Report what a comparison has found, finished or not.

    The exit code is 0 where there is a recommendation, 3 where no trial ended well (yet), 2 for wrong use.
    """
    with errors_printed(), warnings_printed():
        with garbage_collection_paused():
            from lr_search.comparison.loading import load

        if watch and form != Format.TEXT:
            raise InvalidInputError(f"--watch shows a table, but got --format {form.value}. Leave one of them out.")
        comparison = load([storage, *also], name) if also else load(storage, name)
        if form == Format.TEXT:
            comparison = _watched(comparison, out, every) if watch else comparison
            show(comparison, out)
        else:
            from lr_search.report.terminal import FORMATS

            typer.echo(FORMATS[form.value](comparison).rstrip("\n"))
        if not answered(comparison):
            raise typer.Exit(NO_ANSWER)


def show(comparison: Comparison, out: Path) -> None:
    """Print the summary and the winner, and write the report."""
    page = comparison.save(out)
    typer.echo(_text(comparison))
    typer.echo(f"Report: {page}")


def _text(comparison: Comparison) -> str:
    from lr_search.report.terminal import as_text

    size = shutil.get_terminal_size(fallback=(PIPED_COLUMNS, 24))
    return as_text(comparison, size.columns)


def _watched(comparison: Comparison, out: Path, every: float) -> Comparison:
    """Show it whenever it has changed, until nobody works on it any more. Returns: as it is then."""
    from lr_search.cli.ctrl_c import ctrl_c_noted
    from lr_search.comparison.busy import is_busy

    shown, written, quiet = "", -PAGE_SECONDS, 0
    with ctrl_c_noted() as stopped:
        while not stopped.is_set():
            quiet = 0 if is_busy(comparison) else quiet + 1
            if (text := _text(comparison)) != shown:
                typer.echo(f"{CLEAR if sys.stdout.isatty() else ''}{text}")
                shown = text
                if time.monotonic() - written > PAGE_SECONDS:
                    comparison.save(out)
                    written = time.monotonic()
            if quiet >= QUIET_LOOKS:
                typer.echo("Nobody works on it any more.")
                return comparison
            stopped.wait(every)
            comparison = comparison.reload()
        typer.echo("")
        return comparison
