"""The answer as plain PyTorch."""

__all__: list[str] = []
