"""Where and how things are computed: pure passes from a graph to one partition per device."""

# Passes look ops up by name, so every family must be registered before any of them runs.
from sw.graph import ops as ops
