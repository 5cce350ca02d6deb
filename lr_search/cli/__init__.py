"""The command line: lr-search demo | range-test | compare | report | list."""

from lr_search.cli.commands import app, main

__all__ = ["app", "main"]
