"""The LR of a long training from whole, shorter ones under its own schedule: pilots."""

__all__: list[str] = []
