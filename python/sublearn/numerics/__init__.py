"""Numerical methods that know no network."""
