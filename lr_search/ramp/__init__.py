"""The range test: a short training in which the LR rises at every step (Smith, 2017, arXiv:1506.01186, section 3.3)."""

__all__: list[str] = []
