"""Temporary folders that name the process that made them: what a killed one left behind is deleted by the next."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lr_search.storage.ownership import born, machine

PREFIX, OWNER_FILE = "lr_search-", "owner.json"
LONGEST_PLACE = 13  # bytes of a folder's path in which the names of Ray's sockets, of at most 103 on macOS, have room


def ray_place() -> Path:
    """Where Ray makes its temporary folder."""
    default = "/tmp" if sys.platform == "darwin" else tempfile.gettempdir()
    return Path(os.environ.get("RAY_TMPDIR") or default).absolute()


@contextmanager
def owned_folder(place: Path | None = None) -> Iterator[Path]:
    """A new folder that nobody else can read or write, deleted at the block's end.

    Args:
        place: where it is made; None: where temporary folders are.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))  # 0700
    try:
        pid = os.getpid()
        (folder / OWNER_FILE).write_text(json.dumps({"machine": machine(), "pid": pid, "born": born(pid)}))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ray_folder() -> Iterator[str | None]:
    """A folder for all that a Ray of this program's own writes; None, for Ray's default, where its sockets' names would be too long."""
    place = ray_place()
    if len(os.fsencode(place)) > LONGEST_PLACE or not place.is_dir() or sys.platform == "win32":
        yield None
        return
    with owned_folder(place) as folder:
        yield str(folder / "ray")  # which Ray opens to everybody: none gets there


def sweep(*places: Path) -> list[Path]:
    """Delete what processes have left there that are surely dead: this user's, and of this machine since its last boot.

    Returns:
        The folders.
    """
    swept = []
    for place in dict.fromkeys(places or (Path(tempfile.gettempdir()), ray_place())):
        with suppress(OSError):
            for folder in place.glob(f"{PREFIX}*"):
                if _is_left(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                    swept.append(folder)
    return swept


def _is_left(folder: Path) -> bool:
    try:
        mine = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
        if not mine or folder.is_symlink():
            return False
        owner: dict[str, Any] = json.loads((folder / OWNER_FILE).read_text())
        return bool(owner["machine"] == machine() and born(owner["pid"]) != owner["born"])
    except (OSError, ValueError, KeyError, TypeError):  # another's, or it is being made
        return False
