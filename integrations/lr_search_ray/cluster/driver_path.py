"""Where the driver runs: the folder that relative paths start from, and the folders that modules come from."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass

import ray

SENT_CODE = ("working_dir", "py_modules")  # a runtime environment's own copy of the code


@dataclass(frozen=True)
class DriverPath:
    """The driver's current folder and import path, to be taken up on a worker.

    Ray gives its workers the driver's current folder and that of the script, in this order; what the driver had before or
    after them, and which came first, it does not. So a module would come from another file than on the driver.

    Args:
        cwd: the current folder.
        ahead: the folders that modules are looked up in before the standard library.
        behind: those after it, but for the interpreter's own.
    """

    cwd: str
    ahead: tuple[str, ...]
    behind: tuple[str, ...]

    def enter(self) -> None:
        """Take up the driver's folder and import path, as far as they exist on this machine; call it before the workload is unpacked.

        A worker with a runtime environment's copy of the code stays in it, and looks there first.
        """
        sent = _sent_code()
        if "working_dir" not in sent:
            with suppress(OSError):  # there is no such folder here
                os.chdir(self.cwd)
        ahead, behind = ([path for path in paths if os.path.exists(path)] for paths in (self.ahead, self.behind))
        if sent:
            ahead, behind = [], ahead + behind
        path = [*ahead, *(folder for folder in sys.path if folder not in ahead)]
        sys.path[:] = [*path, *(folder for folder in behind if folder not in path)]


def driver_path() -> DriverPath:
    """This process's place, for its workers."""
    folders = list(dict.fromkeys(os.path.abspath(path) for path in sys.path))
    library = next((i for i, path in enumerate(folders) if path in _library()), len(folders))
    own = (*_library(), *site.getsitepackages(), site.getusersitepackages())  # which each machine has of its own
    ahead, behind = (
        tuple(path for path in paths if os.path.exists(path) and not _within(path, own))
        for paths in (folders[:library], folders[library:])
    )
    return DriverPath(os.getcwd(), ahead, behind)


def _library() -> tuple[str, str]:
    """The standard library's folder, with the installed packages in it, and its archive."""
    library = sysconfig.get_paths()["stdlib"]
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    return library, os.path.join(os.path.dirname(library), archive)


def _within(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _sent_code() -> list[str]:
    """Which copies of the code the runtime environment of this worker has."""
    if not ray.is_initialized():
        return []
    return [name for name in SENT_CODE if name in ray.get_runtime_context().runtime_env]
