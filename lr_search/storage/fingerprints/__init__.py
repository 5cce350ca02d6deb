"""What a training starts from, as it is kept, and what differs where another is to go on under the same name."""

__all__: list[str] = []
