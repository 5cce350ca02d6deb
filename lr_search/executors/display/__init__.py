"""What `Progress` shows: how far the studies have come, the time left, their lines on a terminal and in a log."""

__all__: list[str] = []
