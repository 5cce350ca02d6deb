"""Whether every machine has this version of lr_search: in another, the modules that workers are sent may lie elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import lr_search
from lr_search.errors import ClusterError
from lr_search_ray.cluster.asking import ask, one_of_each_machine
from lr_search_ray.cluster.resources import Node

RULE = "Every node must have the same version of lr_search"
_REMEDY = "Install the same on both."
# how Python words that a module, or a name in one, is not there
NOT_THERE = re.compile(r"\b(?:ModuleNotFoundError|ImportError|AttributeError): .*'lr_search(?:_ray)?[.\w]*'.*")


def require_same_version(*, on: Iterable[Node] | None = None, timeout_seconds: float = 60.0) -> None:
    """Raises: ClusterError: a machine has another version of lr_search, or none.

    Args:
        on: the nodes to look at. None: one of each machine.
        timeout_seconds: how long they have to answer.
    """
    ours = lr_search.__version__
    refused = ask(one_of_each_machine() if on is None else on, timeout_seconds, _question(), ours)
    if refused:
        node, theirs = refused[0]
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        where = f"{node.hostname} ({node.address}){more}"
        raise ClusterError(
            f"{RULE}, but got {ours} where the comparison was started and {theirs} on {where}. {_REMEDY}"
        )


def _question() -> Callable[[str], str]:
    """A function that a worker of any version can run: made in here, it is sent by value, and not as a name to import."""

    def another_version(ours: str) -> str:
        try:
            import lr_search
        except ImportError:
            return "none"
        theirs = str(lr_search.__version__)
        return "" if theirs == ours else theirs

    return another_version


def of_another_version(error: str) -> str:
    """In words, if a worker was lost because it has not the modules that it was sent; else "".

    Args:
        error: what Ray says of the loss.

    >>> print(of_another_version("ModuleNotFoundError: No module named 'lr_search_ray.jobs'"))  # doctest: +ELLIPSIS
    Every node must have the same version of lr_search, but what ... sent could not be imported by a worker: ...
    """
    missing = NOT_THERE.search(error)
    if missing is None:
        return ""
    return f"{RULE}, but what {lr_search.__version__} sent could not be imported by a worker: {missing[0].rstrip('.')}. {_REMEDY}"
