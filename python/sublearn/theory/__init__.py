"""Predictions from generic ranks and theorems; nothing is fitted."""
