"""Networks, allocations and strategies: what may learn."""
