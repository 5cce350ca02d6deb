"""One question, its budget and plans, and the comparison that answers it."""

__all__: list[str] = []
