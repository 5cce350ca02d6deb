"""What the words of the command line mean: a workload, strategies, a range of LRs, a pruner."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lr_search.errors import InvalidInputError, LRSearchError, told, unknown_name

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from lr_search.workloads.workload import Workload


def find_workload(target: str) -> Workload:
    """The workload that "pkg.mod:name" names; modules are looked up from the current folder too.

    Raises:
        InvalidInputError: the module or name does not exist, or cannot be imported or called.
        WorkloadError: it is something else.
    """
    from lr_search.workloads.workload import Workload, require_workload

    value = find_named(target)
    if not isinstance(value, Workload) and callable(value) and not isinstance(value, type):
        try:
            value = value()
        except LRSearchError:
            raise
        except Exception as error:
            raise InvalidInputError(f"{target}() must return a workload, but it raised {told(error)}.") from error
    return require_workload(value)


def find_named(target: str) -> Any:
    """What "pkg.mod:name" names, as it is; modules are looked up from the current folder too.

    Raises:
        InvalidInputError: the module or name does not exist, or the module cannot be imported.
    """
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        raise InvalidInputError(f"The workload must be given as pkg.mod:name, but got {target!r}.")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module = _imported(module_name)
    if not hasattr(module, attribute):
        raise unknown_name(f"name in {module_name}", attribute, (n for n in vars(module) if not n.startswith("_")))
    return getattr(module, attribute)


def factory_of(target: str) -> str | None:
    """The target, if it names a function that makes the workload rather than the workload."""
    from lr_search.workloads.workload import Workload

    return None if isinstance(find_named(target), Workload) else target


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InvalidInputError(
                f"The module must be one that can be imported from here, but there is no {error.name!r}. "
                "Run this in the folder that holds it, or install its package."
            ) from error
        raise InvalidInputError(f"The module {name!r} must import, but it raised {told(error)}.") from error
    except LRSearchError:
        raise
    except (Exception, SystemExit) as error:  # SystemExit: a script that reads its own command line
        raise InvalidInputError(f"The module {name!r} must import, but it raised {told(error)}.") from error


def names(text: str) -> list[str]:
    """A comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def strategies(text: str) -> dict[str, Any]:
    """A comma-separated list of NAME or NAME=LR."""
    found: dict[str, Any] = {}
    for item in names(text):
        name, equals, lr = item.partition("=")
        if name in found:
            raise InvalidInputError(f"--strategies must differ in name, but got {name!r} twice.")
        try:
            found[name] = float(lr) if equals else name
        except ValueError:
            raise InvalidInputError(f"--strategies takes NAME or NAME=LR, but got {item!r}.") from None
    return found


def pair(text: str) -> tuple[float, float]:
    """LOW,HIGH."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInputError(f"--lr-range must be LOW,HIGH such as 1e-5,10, but got {text!r}.") from None
    return low, high


def pruner(name: str) -> BasePruner | Literal["auto"] | None:
    """One of Optuna's pruners; or "auto", or none."""
    if name.lower() in ("auto", "none"):
        return "auto" if name.lower() == "auto" else None
    from lr_search.studies.pruner_names import pruner_by_name

    return pruner_by_name(name)


def options(text: str) -> dict[str, Any]:
    """A comma-separated list of NAME=VALUE; a value that is a number, true, false or none becomes that."""
    found: dict[str, Any] = {}
    for item in names(text):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not name or name in found:
            raise InvalidInputError(f"--executor-options must be NAME=VALUE,... with each name once, but got {text!r}.")
        found[name.replace("-", "_")] = _plain(value)
    return found


def _plain(value: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return words[value.lower()]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
