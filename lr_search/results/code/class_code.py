"""The source of a class of ours, which the answer's code brings along: it is to run without lr_search."""

from __future__ import annotations

import ast
import importlib
import inspect
from dataclasses import dataclass


@dataclass(frozen=True)
class ClassCode:
    """A class that needs nothing of its module but what that imports.

    Args:
        imports: the import lines that it needs.
        source: its own.
    """

    imports: tuple[str, ...]
    source: str


def is_ours(module: str) -> bool:
    """Whether a class of that module has its source brought along."""
    return module.startswith("lr_search.optimizers.")


def class_code(module: str, name: str) -> ClassCode:
    """The source of the class of that name in a module.

    >>> class_code("lr_search.optimizers.lion", "Lion").imports
    ('from collections.abc import Callable', 'from typing import Any', 'import torch')
    """
    text = inspect.getsource(importlib.import_module(module))
    body = ast.parse(text).body
    found = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == name)
    used = {node.id for node in ast.walk(found) if isinstance(node, ast.Name)}
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    needed = [node for node in imports if used & {alias.asname or alias.name for alias in node.names}]
    return ClassCode(tuple(map(ast.unparse, needed)), ast.get_source_segment(text, found) or "")
