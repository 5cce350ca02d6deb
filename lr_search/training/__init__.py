"""One training: its steps, evaluations and snapshots, and the state that comes back."""

__all__: list[str] = []
