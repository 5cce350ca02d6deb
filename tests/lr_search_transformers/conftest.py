"""Collections of garbage, of which Accelerate asks for one a training, pass by what importing Transformers has made."""

import gc

import pytest


@pytest.fixture(autouse=True, scope="module")
def _imported_modules_left_out():
    gc.freeze()
    yield
    gc.unfreeze()
