"""One training: its steps, evaluations and snapshots."""

__all__: list[str] = []
