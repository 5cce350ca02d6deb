"""The order of lr_search_ray's rooms: a file imports, whenever it does, only its own room and those before it."""

from tests.imports import circle, modules_imported, source_files

ORDER = ("cluster", "tune", "jobs", "ray_executor")  # lowest first
FILES = {name: path for name, path in source_files("lr_search_ray").items() if name != "lr_search_ray"}


def imported(module: str) -> set[str]:
    """What it imports of lr_search_ray, but for types."""
    source = FILES[module].read_text()
    return modules_imported(source, FILES, "load") | modules_imported(source, FILES, "function")


def place(module: str) -> int:
    return ORDER.index(module.split(".")[1])


def test_every_file_is_in_a_room_and_imports_only_rooms_before_its_own() -> None:
    upward = {module: {each for each in imported(module) if place(each) > place(module)} for module in FILES}
    assert {module: found for module, found in upward.items() if found} == {}


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circle({module: imported(module) for module in FILES}) == []
