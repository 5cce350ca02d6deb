"""What is trained: the workload, its usual forms, and its batches."""

__all__: list[str] = []
