"""What a training keeps, wherever it keeps it: found, copied and put back."""

__all__: list[str] = []
