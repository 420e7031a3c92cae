"""Cocotb benches, one per unit, and the runner that builds and runs them."""
