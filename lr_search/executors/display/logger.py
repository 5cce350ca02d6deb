"""What the library says while it works: the logger `lr_search`.

`logging` decides where it goes, as for any library. Where nobody has set up logging it is written to standard error as it stands, past
the progress bars.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

LOGGER = logging.getLogger("lr_search")


class UnheardHandler(logging.Handler):
    """Writes to standard error what no other handler of the logger, or of those above it, takes."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        if any(handler is not self and record.levelno >= handler.level for handler in _handlers()):
            return
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def _handlers() -> Iterator[logging.Handler]:
    """Those that a message comes to."""
    logger: logging.Logger | None = LOGGER
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


LOGGER.addHandler(UnheardHandler())
if LOGGER.level == logging.NOTSET:  # else as it was set before this was imported
    LOGGER.setLevel(logging.INFO)
