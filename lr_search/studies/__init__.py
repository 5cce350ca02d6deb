"""A study and its trials, before any executor: what it is for, what is left to run, and what became of it."""

__all__: list[str] = []
