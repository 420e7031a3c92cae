"""Hardware: the core (`hw.tpu`) and its benches (`hw.tb`)."""
