"""What parametrised cases are called."""

import re


def case_id(value: object) -> str:
    """Its text without addresses, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
