"""Whether the processes of a Ray that this program has started still run: without them Ray ends the program after a while, in C++."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray.air.execution.resources.placement_group import PlacementGroupResourceManager

LOOK_SECONDS = 0.5
NEEDED = {"raylet": "its raylet", "gcs_server": "its GCS server"}


class RayDiedError(BaseException):
    """Leaves Tune's loop at once: no `Exception`, after which Tune would ask the dead Ray to clean up, and wait a minute for it."""


def forget_placement_groups() -> None:
    """Tune's would be given back when they are collected, and wait a minute for the dead Ray, which ends the program then."""
    for each in gc.get_objects():
        if isinstance(each, PlacementGroupResourceManager):
            vars(each)["clear"] = lambda: None  # which its __del__ calls


@contextmanager
def ray_watched(lost: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, look whether Ray lives.

    Args:
        lost: told once, from another thread, which of its processes has died. Of a cluster that is only joined nothing is known.
    """
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(over, lost), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(over: threading.Event, lost: Callable[[str], None]) -> None:
    while not over.wait(LOOK_SECONDS):
        dead = dead_process()
        if dead is not None:
            lost(dead)
            return


def dead_process() -> str | None:
    """Which process that Ray needs has died, in words, or None."""
    node = ray._private.worker._global_node
    dead: list[str] = [] if node is None else [str(kind) for kind, _ in node.dead_processes()]
    return next((NEEDED[kind] for kind in dead if kind in NEEDED), None)
