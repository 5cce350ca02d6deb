"""A contract that is to fail, with the message it is to fail with."""

import re
from collections.abc import Callable
from typing import Any

import pytest


def fails(message: str, test: Callable[..., None], *arguments: Any) -> None:
    with pytest.raises(AssertionError) as error:
        test(*arguments)
    assert re.search(message, str(error.value)), str(error.value)
