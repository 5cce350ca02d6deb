"""How long a comparison and each of its trials may take, and how what takes longer is ended."""

__all__: list[str] = []
