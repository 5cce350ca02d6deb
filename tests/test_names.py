"""One name, one thing: over all packages no two modules define the same public name, nor have the same file name."""

from collections import defaultdict

from tests.helpers.imports import PACKAGES, names_defined, source_files

# public functions, and what is named after them on purpose
ALLOWED = {
    "RULES": "lrs.suggest.RULES and lrs.optimizers.RULES",
    "RangeTest": "the callback, in lr_search_skorch and lr_search_keras",
    "Schedule": "the class of every schedule, and the callbacks that follow one",
    "by_name": "lrs.schedules.by_name and lrs.optimizers.by_name",
    "compare": "lrs.compare, and the command of the command line",
    "range_test": "lrs.range_test, the command of the command line, and the strategy",
    "refind": "lrs.refind, and the layout of the controller",
}
FILES = {
    module: path for package in PACKAGES for module, path in source_files(package).items() if ".hub." not in module
}


def homes(sources):
    """Name -> the modules that define it, of those that more than one does."""
    found = defaultdict(set)
    for module, source in sources.items():
        for name in names_defined(source):
            found[name].add(module)
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def test_no_two_modules_define_one_name():
    sources = {module: path.read_text() for module, path in FILES.items() if path.name != "__init__.py"}
    assert {name: modules for name, modules in homes(sources).items() if name not in ALLOWED} == {}
    assert homes(sources).keys() == ALLOWED.keys()


def test_no_two_modules_have_one_file_name():
    by_name = defaultdict(list)
    for module, path in FILES.items():
        if path.name not in ("__init__.py", "__main__.py"):
            by_name[path.name].append(module)
    assert {name: modules for name, modules in by_name.items() if len(modules) > 1} == {}


def test_a_name_that_is_defined_twice_is_found():
    sources = {
        "a": "LIMIT = 3\ndef read(): ...",
        "b": "class Read: ...\nLIMIT: int = 4\n_LIMIT = 5",
        "c": "from b import Read",
    }
    assert homes(sources) == {"LIMIT": {"a", "b"}}
