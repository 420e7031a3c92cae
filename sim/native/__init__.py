"""The oracle's fast twin: whole programs in C++, equal to `sim/functional.py` bit for bit.

`simulator.NativeSimulator` is the engine. An instruction is carried out completely or declined
with nothing changed; the oracle itself carries out what is declined, so that every error is its.
"""
