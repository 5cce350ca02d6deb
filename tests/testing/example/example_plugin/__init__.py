"""A plug-in as its author writes it: a schedule, a strategy with its sampler, an executor."""
