"""Comparisons on Ray Tune: jobs handed to workers, and what they answer."""

__all__: list[str] = []
