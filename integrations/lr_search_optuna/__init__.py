"""For people who have an Optuna study of their own. Its place; nothing is in it yet.

Our samplers are plain Optuna samplers and need nothing from here: `optuna.create_study(sampler=RangeTestSampler(prior))`.
"""

__all__: list[str] = []
