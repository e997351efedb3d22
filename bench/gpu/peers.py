"""The peers' libraries on the GPU. The workloads of the CPU benchmarks build their torch and jax candidates with `torch_cpu` and `jax_cpu`;
here these names stand for the GPU instead, so that the same lines are timed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

from ..harness import Candidate, Options, Peer, Skipped


class _TorchOnGpu:
    """torch, but new tensors live on the GPU."""

    def __init__(self, torch):
        self._torch = torch

    def __getattr__(self, name):
        found = getattr(self._torch, name)
        if name == "from_numpy":
            return lambda array: found(array).cuda()
        if name in ("tensor", "eye", "arange", "zeros", "full"):
            return lambda *arguments, **options: found(*arguments, **{"device": "cuda", **options})
        return found


def torch_gpu(options: Options | None = None):
    import torch

    if not torch.cuda.is_available():
        raise Skipped("this torch sees no GPU")
    return _TorchOnGpu(torch)


def jax_gpu():
    import jax

    jax.config.update("jax_enable_x64", True)
    if jax.default_backend() != "gpu":
        raise Skipped(f"this jax runs on {jax.default_backend()}")
    return jax, jax.numpy


def cupy_gpu():
    import cupy

    if cupy.cuda.runtime.getDeviceCount() == 0:
        raise Skipped("this cupy sees no GPU")
    return cupy


@contextmanager
def numpy_of_gpu_tensors():
    """tensor.numpy() brings it to the CPU first, for the checks of answers."""
    try:
        import torch
    except ImportError:
        yield
        return
    plain = torch.Tensor.numpy
    with mock.patch.object(torch.Tensor, "numpy", lambda t, **o: plain(t.detach().cpu(), **o)):
        yield


def on_gpu(module, peer: Peer) -> Peer:
    """A peer of a CPU workload, on the GPU: its call ends when the GPU has finished."""

    def build(problem, options: Options) -> Candidate:
        with mock.patch.multiple(module, torch_cpu=torch_gpu, jax_cpu=jax_gpu):
            candidate = peer.build(problem, options)
        if peer.library != "torch":
            return candidate  # jax waits by itself
        import torch

        def call():
            candidate.call()
            torch.cuda.synchronize()

        def answer():
            with numpy_of_gpu_tensors():
                return candidate.answer()

        return replace(candidate, call=call, answer=answer if candidate.answer else None)

    return Peer(peer.name, peer.library, build)
