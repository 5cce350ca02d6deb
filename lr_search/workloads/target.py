"""From "pkg.mod:name" or "path/file.py:name" to the workload it names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from lr_search.errors import InvalidInputError, LRSearchError, error_text, quoted, unknown_name, user_code

if TYPE_CHECKING:
    from lr_search.workloads.trainable import Trainable
    from lr_search.workloads.workload import Workload


def find_workload(target: str) -> Workload | Trainable:
    """The workload, or training function, that "pkg.mod:name" or "path/file.py:name" names; modules are looked up from the current folder too.

    Raises:
        InvalidInputError: the module, file or name does not exist, or cannot be imported or called.
        WorkloadError: it is something else.
    """
    from lr_search.workloads.subject import Subject
    from lr_search.workloads.workload import require_workload

    value = find_named(target)
    if not isinstance(value, Subject | type) and _needs_nothing(value):
        try:
            with user_code:
                value = value()
        except LRSearchError:
            raise
        except Exception as error:
            raise InvalidInputError(f"{target}() must return a workload, but it raised {error_text(error)}.") from error
    return require_workload(value)


def _needs_nothing(value: object) -> bool:
    """Whether it can be called without arguments."""
    try:
        inspect.signature(value).bind()  # type: ignore[arg-type]
    except TypeError:
        return False
    except ValueError:  # no signature is known
        return callable(value)
    return True


def find_named(target: str) -> Any:
    """What "pkg.mod:name" or "path/file.py:name" names, as it is; modules are looked up from the current folder too.

    Raises:
        InvalidInputError: the module, file or name does not exist, or cannot be imported.
    """
    place, attribute = split_target(target)
    if _is_file(place):
        module = _loaded(place)
    else:
        _look_in(Path.cwd())
        module = _imported(place)
    try:
        with user_code:  # a module may have a __getattr__
            return getattr(module, attribute)
    except AttributeError:
        known = (name for name in vars(module) if not name.startswith("_"))
        raise unknown_name(f"name in {place}", attribute, known) from None
    except LRSearchError:
        raise
    except Exception as error:
        raise InvalidInputError(f"{target} must be there to be trained, but it raised {error_text(error)}.") from error


def split_target(target: str) -> tuple[str, str]:
    r"""The module or file, and the name in it; a drive's colon is no part of the name.

    Raises:
        InvalidInputError: there are no such two parts.

    >>> split_target("pkg.mod:workload"), split_target(r"C:\x\mycnn.py:workload")
    (('pkg.mod', 'workload'), ('C:\\x\\mycnn.py', 'workload'))
    """
    place, colon, attribute = target.rpartition(":")
    if not colon or not place or not attribute or "\\" in attribute or "/" in attribute:
        raise InvalidInputError(
            f"The workload must be given as pkg.mod:name or path/file.py:name, but got {quoted(target)}."
        )
    return place, attribute


def short_target(target: str) -> str:
    r"""The target without the folders of its file, such as names a comparison.

    >>> short_target("pkg.mod:workload"), short_target("/home/me/mycnn.py:workload"), short_target(r"C:\x\mycnn.py:workload")
    ('pkg.mod:workload', 'mycnn.py:workload', 'mycnn.py:workload')
    """
    place, _, attribute = target.rpartition(":")
    return f"{PureWindowsPath(place).name}:{attribute}" if _is_file(place) else target


def factory_of(target: str) -> str | None:
    """The target, if it names a function that makes the workload rather than the workload."""
    from lr_search.workloads.subject import Subject

    if isinstance(find_named(target), Subject):
        return None
    place, attribute = split_target(target)
    return (
        f"{Path(place).absolute()}:{attribute}" if _is_file(place) else target
    )  # a worker may stand in another folder


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or "\\" in place


def _look_in(folder: Path) -> None:
    """Let modules be imported from the folder."""
    if str(folder) not in sys.path and not (folder == Path.cwd() and "" in sys.path):
        sys.path.insert(0, str(folder))


def _loaded(place: str) -> Any:
    """The module of a file, as if it were imported from the file's folder; its neighbours can be imported too."""
    path = Path(place).absolute()
    if not path.is_file():
        raise unknown_name("file", place, _beside(path, place))
    held = sys.modules.get(path.stem)
    if held is not None and getattr(held, "__file__", None) == str(path):
        return held
    if held is not None:
        raise InvalidInputError(
            f"A workload's file must have a name that no other module has, but there is another {quoted(path.stem)}. Rename the file."
        )
    _look_in(path.parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InvalidInputError(f"A workload's file must be one of Python, ending in .py, but got {quoted(place)}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # so that what it defines can be pickled
    try:
        with user_code:
            spec.loader.exec_module(module)
    except LRSearchError:
        sys.modules.pop(path.stem, None)
        raise
    except Exception as error:
        sys.modules.pop(path.stem, None)
        raise InvalidInputError(f"The file {quoted(place)} must import, but it raised {error_text(error)}.") from error
    return module


def _beside(path: Path, place: str) -> list[str]:
    """The files of Python in the folder, as the user would write them."""
    folder = place[: len(place) - len(path.name)]
    try:
        return [folder + each.name for each in path.parent.glob("*.py")]
    except OSError:
        return []


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
