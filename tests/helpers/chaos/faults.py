"""What may happen to a disk, beside the death of a process."""

import contextlib
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path


class SmallDisk:
    """A file system of its own in memory, which can fill up and be made read-only; `mounted` says whether there may be one."""

    def __init__(self, folder: Path, megabytes: int = 4) -> None:
        folder.mkdir()
        self.folder = folder
        self.mounted = self._mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs")

    def _mount(self, *options: str) -> bool:
        try:
            return subprocess.run(["mount", *options, str(self.folder)], capture_output=True).returncode == 0
        except FileNotFoundError:
            return False

    def fill(self) -> None:
        """To the last byte."""
        with contextlib.suppress(OSError), (self.folder / "others").open("wb", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass

    def make_room(self) -> None:
        """As before."""
        (self.folder / "others").unlink()

    def allow_writing(self, allowed: bool) -> None:
        """Or refuse it; nothing may be open for writing."""
        assert self._mount("-o", f"remount,{'rw' if allowed else 'ro'}")

    def close(self) -> None:
        """Take it away."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another program writes to it, and holds all others up."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=30)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()
