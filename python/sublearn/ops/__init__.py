"""Batched operations: arrays in, arrays out."""
