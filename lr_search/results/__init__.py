"""Records made frames, statistics and the answer; pandas, no drawing."""

__all__: list[str] = []
