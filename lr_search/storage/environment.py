"""Under what a comparison is run, for its report: versions, device, command and commit."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lr_search.storage.masking import masked_words

PACKAGES = ("lr-search", "torch", "optuna", "numpy", "pandas", "ray")
GIT_SECONDS = 5.0  # after which a slow file system is left alone


def environment() -> dict[str, str]:
    """What a person needs to run it again: name -> value, in the order to show them."""
    return {"since": datetime.now(UTC).isoformat(timespec="seconds"), **_of_process()}


@cache
def _of_process() -> dict[str, str]:
    return {
        "command": masked_words(sys.argv),
        "git commit": git_commit(Path.cwd()),
        "Python": platform.python_version(),
        **_versions(),
        "system": platform.platform(),
        "device": _device(),
    }


def git_commit(folder: Path) -> str:
    """The commit that is checked out there, and whether files were changed since; empty outside a repository.

    >>> import tempfile
    >>> git_commit(Path(tempfile.gettempdir()))
    ''
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):  # no git, no repository, no commit yet
        return ""
    return f"{commit} (with uncommitted changes)" if changed else commit


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    return done.stdout.strip()


def _versions() -> dict[str, str]:
    import torch

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions | {"torch": str(torch.__version__)}  # with its build, such as +cu130, which the package's may lack


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return f"{', '.join(names)}; CUDA {torch.version.cuda}"
    threads = torch.get_num_threads()
    return f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}"
