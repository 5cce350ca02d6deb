"""Keras on torch, imported once: that takes it ten seconds."""

import os

import pytest


@pytest.fixture(scope="session")
def keras():
    os.environ["KERAS_BACKEND"] = "torch"
    return pytest.importorskip("keras")
