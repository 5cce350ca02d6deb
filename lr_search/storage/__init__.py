"""What is kept, by whom, and how it is read back."""

__all__: list[str] = []
