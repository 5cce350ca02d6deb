"""Figures of one curve or prior."""

__all__: list[str] = []
