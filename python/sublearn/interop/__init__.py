"""Models of torch and jax: their parameters and Jacobians, and training of an allocation alone. Each is loaded where it is used.

>>> import torch  # doctest: +SKIP
>>> model = sl.interop.torch.linearize(module, x)  # doctest: +SKIP
>>> sl.interop.torch.train_only(module, sl.best_allocation(model))  # doctest: +SKIP
"""

from . import jax, torch

__all__ = ["jax", "torch"]
