"""A training function that catches all that is raised is told so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lr_search.errors import WorkloadError

MOST_SWALLOWED = 100  # exceptions after Stop that a function may catch before it is ended by one that it does not


class StopSwallowed(BaseException):
    """A training function goes on whatever is raised. No `Exception`, for it catches all of these; it holds the error."""

    @property
    def error(self) -> WorkloadError:
        """What to tell the user."""
        error: WorkloadError = self.args[0]
        return error


@contextmanager
def stop_swallowed_told() -> Iterator[None]:
    """A function that caught Stop, and all that came after it, is told so. Raises: WorkloadError."""
    try:
        yield
    except StopSwallowed as swallowed:
        raise swallowed.error from None
