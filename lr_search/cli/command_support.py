"""What the commands share: their common arguments, files that must be writable, and how a mistake is reported."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lr_search.errors import (
    ClusterLostError,
    LRSearchError,
    OutputError,
    TrialsFailedError,
    WorkloadError,
    error_text,
    raised_by_user,
    user_frames,
)
from lr_search.kinds.seeds import MOST_SEEDS

if TYPE_CHECKING:
    from lr_search.comparison.comparison import Comparison

_FAILED, WRONG_USE, NO_ANSWER, INTERRUPTED = 1, 2, 3, 130
_LAST_FRAMES = 3  # of a user's code that are shown where it raised

Target = Annotated[
    str,
    typer.Argument(metavar="PKG.MOD:WORKLOAD", help="A workload, or a function that returns one; or FILE.PY:WORKLOAD."),
]
Seeds = Annotated[int, typer.Option(help="How many seeds.", min=1, max=MOST_SEEDS)]
FirstSeed = Annotated[int, typer.Option(help="The first seed.", min=0, max=2**62)]


def answered(comparison: Comparison) -> bool:
    """Whether there is something to train with: a recommendation, or what pilots tell."""
    from lr_search.scaling.told import transfers_of

    return comparison.recommendation is not None or bool(transfers_of(comparison.records))


def require_writable(folder: Path, option: str = "--out") -> None:
    """Find out before hours of training, not after; makes no folder yet."""
    try:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        probe = existing / f".lr_search_probe_{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"The output must go to a folder that can be written, but got {folder}: {error.strerror}. Give another with {option}."
        ) from error


def require_file(path: Path | None, option: str, endings: tuple[str, ...] = ()) -> None:
    """Find out before hours of training, not after, whether a file can be written; makes neither it nor its folder yet."""
    if path is None:
        return
    if endings and path.suffix.lower() not in endings:
        raise OutputError(f"{option} must name a file that ends in {', '.join(endings)}, but got {path}.")
    if path.is_dir():
        raise OutputError(f"{option} must name a file, but got {path}, which is a folder.")
    require_writable(path.parent, option)


@contextlib.contextmanager
def warnings_printed() -> Iterator[None]:
    """A warning to a user of the library is a note to one of the command line, without the line of code it came from."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)  # each once
        warnings.showwarning = lambda message, *_, **__: typer.echo(f"note: {message}", err=True)
        yield


@contextlib.contextmanager
def errors_printed(storage: str | None = None, name: str | None = None) -> Iterator[None]:
    """A user's mistake becomes a message and an exit code, Ctrl-C a way to go on."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("\nStopped.", err=True)
        _print_way_on(storage, name)
        raise typer.Exit(INTERRUPTED) from None
    except ClusterLostError as error:
        _print_error(error)
        _print_way_on(storage, name)
        raise typer.Exit(WRONG_USE) from None
    except TrialsFailedError as error:
        _print_error(error)
        if storage is not None:
            from lr_search.storage.masking import masked_words

            typer.echo(f"See them with:  {masked_words(['lr-search', 'report', storage, name or ''])}", err=True)
        raise typer.Exit(_FAILED) from None
    except LRSearchError as error:
        _print_error(error)
        raise typer.Exit(WRONG_USE) from None
    except SystemExit as error:  # no answer, so no exit code 0, whoever called sys.exit()
        if isinstance(error.code, int) and error.code != 0:
            raise
        typer.echo(f"error: The command must come to its end, but it was ended by {error_text(error)}.", err=True)
        raise typer.Exit(_FAILED) from None


def _print_way_on(storage: str | None, name: str | None) -> None:
    """How a comparison that was cut short is gone on with."""
    if storage is not None:
        from lr_search.storage.masking import masked_url, masked_words

        again = masked_words(["lr-search", *(word for word in sys.argv[1:] if word != "--fresh")])
        if _is_missing_file(storage):
            typer.echo(f"Nothing is finished yet. Go on with:  {again}", err=True)
            return
        typer.echo(f"What is finished is kept in {masked_url(storage)}. Go on with:  {again}", err=True)
        typer.echo(f"See it as it is with:  {masked_words(['lr-search', 'report', storage, name or ''])}", err=True)


def _is_missing_file(storage: str) -> bool:
    """Whether it is an SQLite file that is not there: stopped while it was tried out, a comparison has made none."""
    _, sqlite, place = storage.partition("sqlite:///")
    return bool(sqlite) and place not in ("", ":memory:") and not Path(place.partition("?")[0]).exists()


def _print_error(error: LRSearchError) -> None:
    """The message; where the training's own code has raised, also the last places in the user's code."""
    typer.echo(f"error: {error}", err=True)
    cause = error.__cause__
    if cause is None or not isinstance(error, WorkloadError | TrialsFailedError):
        return
    frames = user_frames(raised_by_user(cause))[-_LAST_FRAMES:]
    typer.echo("".join(traceback.format_list(frames)), err=True, nl=False)
