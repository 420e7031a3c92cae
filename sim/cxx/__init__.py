"""What the simulators written in C++ share: the build, and instructions as the C++ sees them."""
