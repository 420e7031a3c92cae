"""Operators with kernels of their own, in NumPy, by families; importing one registers it."""
