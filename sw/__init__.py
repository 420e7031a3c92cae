"""Software: graph, compiler, runtime, and the command line."""
