"""Simulators of the core: functional, timing and RTL; and what they share."""
