"""What is to be computed: ops, tensors, types, gradients. Imports nothing but hw.tpu.numerics."""
