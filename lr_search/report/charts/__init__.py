"""Pictures of the page as SVG in its colours: the one of the answer, and Matplotlib's redressed."""

__all__: list[str] = []
