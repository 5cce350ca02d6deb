"""A study or comparison as notes, figures and artifacts of optuna-dashboard."""

__all__: list[str] = []
