"""Bytes between DRAM and the chip: bursts, alignment, the units for LOAD, STORE and fetch."""
