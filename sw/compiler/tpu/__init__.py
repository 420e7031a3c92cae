"""The TPU's compiler: from quantised layers to a `TpuProgram`."""
