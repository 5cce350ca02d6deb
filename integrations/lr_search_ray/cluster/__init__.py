"""Ray's cluster: its address, machines and resources, what is asked of it, and what is sent there."""

__all__: list[str] = []
