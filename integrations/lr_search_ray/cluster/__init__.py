"""Ray's cluster: its address, machines and resources, and what is asked of it."""

__all__: list[str] = []
