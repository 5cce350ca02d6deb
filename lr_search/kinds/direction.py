"""Which of two objectives is the better one."""

from typing import Literal

Direction = Literal["minimize", "maximize"]
