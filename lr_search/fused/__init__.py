"""Several models of one kind trained together: their weights stacked, one forward and backward pass for all.

Reference:
    Wang et al., "Horizontally Fused Training Array: An Effective Hardware Utilization Squeezer for Training Novel Deep Learning
    Models", 2021, arXiv:2102.02344.
"""

__all__: list[str] = []
