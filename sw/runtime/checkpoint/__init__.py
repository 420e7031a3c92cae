"""Checkpoints and graphs in files: written atomically, checked when read, never executed."""
