"""Profiles of TPU runs: where every cycle of a network went, as data, pictures and a page."""
