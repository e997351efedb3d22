"""Benchmarks on an NVIDIA GPU, with torch, jax and cupy on the same GPU as peers: `bench/gpu/run.sh bench`, or `python -m bench.gpu`."""
