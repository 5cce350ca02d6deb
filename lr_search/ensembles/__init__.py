"""Several models of one training: their outputs combined, or their weights averaged."""

__all__: list[str] = []
