"""The core: its instruction set, sizes, numerics and hardware."""
