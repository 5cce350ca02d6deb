"""For Tuners of the user's own: searchers, spaces and trainables."""

__all__: list[str] = []
