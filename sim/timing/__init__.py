"""The timing model: cycles and counters of a program, equal to the RTL's, without its data.

`simulator.TimingSimulator` is the engine. The model is C++ (`core.h` connects the units as
`hw/tpu/core.py` does), compiled once; `layout.py` derives its view of instructions, registers and
sizes from `hw/tpu`, so that no number is written twice.
"""
