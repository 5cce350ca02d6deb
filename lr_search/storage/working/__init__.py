"""A storage as one process works on it: what it knows is not read again, and what belongs together is written in one transaction."""

__all__: list[str] = []
