"""What a range test recorded, and what is read off it: curves, suggestions, rules and priors. Knows no torch."""

__all__: list[str] = []
