"""A torch optimizer: by name, its parameter groups, its modes and its character."""

from lr_search.optimizers.names import NAMES, RULES, Rules, by_name, default_lr, rules_of

__all__ = ["NAMES", "RULES", "Rules", "by_name", "default_lr", "rules_of"]
