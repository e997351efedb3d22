"""The peers' libraries, imported only when asked for and set to the CPU, to float64 where asked, and to our number of threads."""

from __future__ import annotations

import os

from .harness import Options


def torch_cpu(options: Options):
    """torch on `options.threads` threads. ImportError where it is not installed."""
    import torch

    torch.set_num_threads(options.threads)
    return torch


def jax_cpu():
    """(jax, jax.numpy) on the CPU with float64. Its threads are as many as the cores the process may use."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax, jax.numpy
