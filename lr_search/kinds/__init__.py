"""Which kind of value an argument must be: numbers, texts, functions, containers, objects. Read off annotations, checked in one place."""

from lr_search.kinds.checked import checked
from lr_search.kinds.options import taken_options
from lr_search.kinds.printable_names import require_name

__all__ = ["checked", "require_name", "taken_options"]
