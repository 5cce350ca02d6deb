"""Files in a folder, each of them replaced at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lr_search.errors import OutputError


def write_files(directory: Path, content: Mapping[str, bytes]) -> None:
    """Write files: whoever reads one meanwhile reads the old or the new, and none is replaced before all are written.

    Args:
        directory: created where it is missing.
        content: file name -> bytes, in the order in which they are put in place.

    Raises:
        OutputError: the folder cannot be written to, or a file or folder is in the way; the message names it.
    """
    new = {directory / name: directory / f".{name}.{os.getpid()}.new" for name in content}
    at = next(
        (path for path in (directory, *directory.parents) if path.exists()), directory
    )  # a file there is in the way
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for at in new:
            if at.is_dir():
                raise IsADirectoryError(0, "it is a folder")
        for at, path in new.items():
            path.write_bytes(content[at.name])
        for at, path in new.items():
            os.replace(path, at)
    except OSError as error:
        raise OutputError(
            f"The report must go to a folder that can be written, but got {at}: {error.strerror}. "
            "Give another with --out, or move away what is there."
        ) from error
    finally:
        for path in new.values():
            with suppress(OSError):
                path.unlink(missing_ok=True)
