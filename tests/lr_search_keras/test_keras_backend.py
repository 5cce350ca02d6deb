"""Which Keras is taken, and when it is loaded."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.trainers

CODE = """
import sys
import lr_search_keras, lr_search_skorch
print(*{"keras", "skorch", "sklearn", "torch"} & set(sys.modules))
from lr_search_keras import Schedule
"""


def test_importing_the_packages_loads_nothing_heavy_and_another_backend_is_refused():
    environment = {**os.environ, "KERAS_BACKEND": "openvino"}
    found = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == ""
    assert "needs Keras 3 on torch, but got the backend openvino" in found.stderr.splitlines()[-1]
    assert "KERAS_BACKEND=torch before Keras is imported" in found.stderr.splitlines()[-1]
