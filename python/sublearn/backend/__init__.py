"""Where arrays live and who computes: the only room that names the compiled modules."""
