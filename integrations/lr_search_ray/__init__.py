"""For running comparisons on Ray Tune. Its place; nothing is in it yet."""

__all__: list[str] = []
