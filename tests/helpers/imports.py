"""Who imports whom, read off the source: for the tests of the order of rooms."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import lr_search

ROOT = Path(lr_search.__file__).parent.parent
BESIDE = (
    "lr_search_keras",
    "lr_search_lightning",
    "lr_search_optuna",
    "lr_search_ray",
    "lr_search_skorch",
    "lr_search_transformers",
)
PACKAGES = {"lr_search": ROOT, **dict.fromkeys(BESIDE, ROOT / "integrations")}


class Import(NamedTuple):
    """One name that a file imports: when it is loaded ("load"), inside a function, or for types alone."""

    module: str
    name: str | None
    when: str


def source_files(package: str = "lr_search") -> dict[str, Path]:
    """Module's name -> file, of one package."""
    found = {}
    for path in sorted((PACKAGES[package] / package).rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGES[package]).with_suffix("").parts)
        found[module.removesuffix(".__init__")] = path
    return found


def imports_of(source: str) -> list[Import]:
    """Every import in the source. Relative ones and `import *` are refused."""
    return list(_imports(ast.parse(source).body, "load"))


def _imports(nodes: list[ast.AST], when: str) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, None, when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            assert all(alias.name != "*" for alias in node.names), "import *"
            yield from (Import(str(node.module), alias.name, when) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from _imports(node.body, "types")
            yield from _imports(node.orelse, when)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports(node.body, "function")
        else:
            yield from _imports(list(ast.iter_child_nodes(node)), when)


def modules_imported(source: str, files: Mapping[str, Path], when: str) -> set[str]:
    """The modules among `files` that the source imports at that time."""
    found = set()
    for module, name, at in imports_of(source):
        if at == when:
            found.add(f"{module}.{name}" if f"{module}.{name}" in files else module)
    return {module for module in found if module in files and module != "lr_search"}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """One circle of the graph, as the names on it; empty where there is none."""
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        trail = [iter([start])]
        while trail:
            node = next(trail[-1], None)
            if node is None:
                trail.pop()
                if path:
                    done.add(path.pop())
            elif node in path:
                return [*path[path.index(node) :], node]
            elif node not in done:
                path.append(node)
                trail.append(iter(sorted(graph.get(node, ()))))
    return []


def names_defined(source: str) -> set[str]:
    """The classes, functions and constants that a module makes for others: no private names, no imports."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return {name for name in found if not name.startswith("_")}
