"""Whether every machine of a cluster sees the place that checkpoints are kept in."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ray.train._internal.storage import get_fs_and_path

from lr_search.errors import ClusterError, quoted
from lr_search_ray.cluster.asking import ask, one_of_each_machine
from lr_search_ray.cluster.resources import Node

PATIENCE_SECONDS = 5.0  # network file systems show other machines' new files late
FILE = "file://"
_REMEDY = "Use a folder that all machines share (NFS, EFS), or a URI such as s3://bucket/folder."


def require_shared(
    storage_path: str | None, *, on: Iterable[Node] | None = None, timeout_seconds: float = 60.0
) -> None:
    """Raises: ClusterError: a storage path cannot be written here, or by another machine of the cluster, or is not the same there.

    Args:
        storage_path: a folder, or a URI such as s3://bucket/folder. None: nothing is shared.
        on: the nodes that must see it. None: one of each machine.
        timeout_seconds: how long they have to answer.
    """
    if storage_path is None:
        return
    asked = one_of_each_machine() if on is None else list(on)
    if "://" in storage_path and not storage_path.startswith(FILE):
        failed = ask(asked, timeout_seconds, _uri_refused, storage_path)
        rule = "storage_path must be a place that every node can write to"
    else:
        folder = _folder(storage_path)
        marker = folder / f".lr_search-{uuid.uuid4().hex}"
        _write(storage_path, marker)
        try:
            failed = ask(asked[1:] if on is None else asked, timeout_seconds, _folder_refused, str(marker))
        finally:
            with suppress(OSError):
                marker.unlink()
        rule = "storage_path must be a folder that every node of the cluster shares with this one"
    if failed:
        node, reason = failed[0]
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise ClusterError(
            f"{rule}, but got {quoted(storage_path)}; on {node.hostname} ({node.address}){more}: {reason}. {_REMEDY}"
        )


def as_ray_takes_it(storage_path: str) -> str:
    """A URI, or a folder from the root on."""
    return storage_path if "://" in storage_path else str(_folder(storage_path))


def delete_checkpoints(storage_path: str, name: str) -> None:
    """Delete a folder there, as far as that can be done."""
    with suppress(OSError):
        system, path = get_fs_and_path(as_ray_takes_it(storage_path))
        system.delete_dir(f"{path}/{name}")


def _folder(path: str) -> Path:
    if path.startswith(FILE):
        path = url2pathname(urlsplit(path).path)
    return Path(path).expanduser().absolute()


def _write(storage_path: str, marker: Path) -> None:
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text("lr_search looks whether all nodes see this folder; it may be deleted.")
    except OSError as error:
        raise ClusterError(
            f"storage_path must be a folder that can be written, but got {quoted(storage_path)}: {error.strerror}. {_REMEDY}"
        ) from error


def _folder_refused(marker: str) -> str:
    """Run by a node: why the driver's file is not there, or nothing can be written beside it; "" if all is well."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not os.path.exists(marker):
        if time.monotonic() > deadline:
            return "what this program has written there is not to be seen"
        time.sleep(0.2)
    own = Path(f"{marker}-{uuid.uuid4().hex}")
    try:
        own.touch()
        own.unlink()
    except OSError as error:
        return f"it cannot be written: {error.strerror}"
    return ""


def _uri_refused(uri: str) -> str:
    """Run by a node: why nothing can be written there; "" if all is well."""
    try:
        system, path = get_fs_and_path(uri)  # as Tune will
        name = f"{path}/.lr_search-{uuid.uuid4().hex}"
        system.create_dir(path, recursive=True)
        with system.open_output_stream(name) as stream:
            stream.write(b"lr_search looks whether it can write here; it may be deleted.")
        system.delete_file(name)
    except Exception as error:
        return f"it cannot be written: {' '.join(str(error).split()).rstrip('.')}"
    return ""
