"""lr-search list: every name there is, and a line on each."""

from __future__ import annotations

import ast
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from lr_search.cli.command_support import errors_printed
from lr_search.errors import LRSearchError

_NEEDED = {"lr_search_ray": "ray"}  # by a package of ours: what it cannot be imported without


def list_names() -> None:
    """Print the strategies, schedules, optimizers, rules and executors there are: built in and plugged in."""
    with errors_printed():
        from lr_search import plugins
        from lr_search.curves.suggest import DEFAULT_RULE, RULES
        from lr_search.optimizers.lr_ranges import RANGES
        from lr_search.optimizers.names import NAMES
        from lr_search.samplers.strategy_names import sampler_names

        _print_group("strategies", plugins.STRATEGIES)
        typer.echo(f"  Optuna's samplers go by name as well: {', '.join(sampler_names())}")
        _print_group("schedules", plugins.SCHEDULES)
        typer.echo("optimizers")
        for name, description in NAMES.items():
            typer.echo(f"  {name:<19}{description}")
        typer.echo("ranges")
        for kind, (low, high) in RANGES.items():
            typer.echo(f"  {kind:<19}LRs from {low:g} to {high:g} are searched where no range is given")
        typer.echo("rules")
        for name, rule in RULES.items():
            default = " (default)" if name == DEFAULT_RULE else ""
            typer.echo(f"  {name:<15}{_first_line(rule.__doc__)}{default}")
        _print_group("executors", plugins.EXECUTORS)


def _print_group(title: str, group: str) -> None:
    from lr_search import plugins

    typer.echo(title)
    for name, point in plugins.registered(group).items():
        package = _package(point)
        origin = "" if package == "lr-search" else f" [{package}]"
        try:
            text = _described(group, point)
        except LRSearchError as error:  # the others are there nevertheless
            text = str(error)
        typer.echo(f"  {name:<15}{text}{origin}")


def _described(group: str, point: EntryPoint) -> str:
    """What is registered there, in a line."""
    from lr_search import plugins
    from lr_search.samplers.strategy_names import known_as, resolve_strategies

    if group == plugins.EXECUTORS and (docstring := _unloaded_docstring(point)):
        return _first_line(docstring)
    plugin = plugins.load_plugin(group, point.name)
    if group != plugins.STRATEGIES:
        return f"{_first_line(plugin.__doc__)}{_searched(plugin)}"
    if known_as(point.name) != point.name:
        return f"another name of {known_as(point.name)}, under which it is stored and shown"
    return resolve_strategies(point.name)[0].describe


def _unloaded_docstring(point: EntryPoint) -> str | None:
    """The docstring of a class of ours, read off its file: its module would load torch, or Ray. None where only the module tells."""
    package = point.module.partition(".")[0]
    needed = _NEEDED.get(package)
    if _package(point) != "lr-search" or (needed is not None and find_spec(needed) is None):
        return None
    return _docstring_in(point.module, point.attr)


def _docstring_in(module: str, name: str) -> str | None:
    """The docstring of a class that a module defines, or takes from another."""
    package, *inside = module.split(".")
    spec = find_spec(package)  # of the outermost: that of another would load those around it
    for folder in [] if spec is None else spec.submodule_search_locations or []:
        place = Path(folder, *inside)
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return ast.get_docstring(node)
            if isinstance(node, ast.ImportFrom) and name in (alias.name for alias in node.names):
                return _docstring_in(str(node.module), name)
    return None


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "?"


def _searched(layout: Any) -> str:
    """The options of a schedule that search_shape searches, with their ranges."""
    from lr_search.schedules.layout import ranges_of

    ranges = ", ".join(f"{name} {within.low:g} to {within.high:g}" for name, within in ranges_of(layout).items())
    return f" (shape: {ranges})" if ranges else ""


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]
