"""Trainings by functions of the user's own: what these are given, their first steps, and their range test."""

__all__: list[str] = []
