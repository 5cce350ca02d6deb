"""From "pkg.mod:name" to the workload it names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lr_search.errors import InvalidInputError, LRSearchError, error_text, quoted, unknown_name, user_code

if TYPE_CHECKING:
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
            with user_code:
                value = value()
        except LRSearchError:
            raise
        except Exception as error:
            raise InvalidInputError(f"{target}() must return a workload, but it raised {error_text(error)}.") from error
    return require_workload(value)


def find_named(target: str) -> Any:
    """What "pkg.mod:name" names, as it is; modules are looked up from the current folder too.

    Raises:
        InvalidInputError: the module or name does not exist, or the module cannot be imported.
    """
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        raise InvalidInputError(f"The workload must be given as pkg.mod:name, but got {quoted(target)}.")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module = _imported(module_name)
    try:
        with user_code:  # a module may have a __getattr__
            return getattr(module, attribute)
    except AttributeError:
        known = (name for name in vars(module) if not name.startswith("_"))
        raise unknown_name(f"name in {module_name}", attribute, known) from None
    except LRSearchError:
        raise
    except Exception as error:
        raise InvalidInputError(f"{target} must be there to be trained, but it raised {error_text(error)}.") from error


def factory_of(target: str) -> str | None:
    """The target, if it names a function that makes the workload rather than the workload."""
    from lr_search.workloads.workload import Workload

    return None if isinstance(find_named(target), Workload) else target


def _imported(name: str) -> Any:
    try:
        with user_code:  # a script that reads its own command line exits
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InvalidInputError(
                f"The module must be one that can be imported from here, but there is no {quoted(error.name)}. "
                "Run this in the folder that holds it, or install its package."
            ) from error
        raise InvalidInputError(f"The module {quoted(name)} must import, but it raised {error_text(error)}.") from error
    except LRSearchError:
        raise
    except Exception as error:
        raise InvalidInputError(f"The module {quoted(name)} must import, but it raised {error_text(error)}.") from error
