"""What every compiled program must pass, shared by the tests of this folder."""

import numpy as np

from sim.execute import execute, load
from sim.hazards import find_hazards
from sim.liveness import find_lockup
from sim.native.simulator import NativeSimulator
from sw.compiler.tpu.compile import compile_network
from tests.compiler.tpu import reference


def run_program(program, inputs):
    engine = NativeSimulator(program.config, program.dram_bytes)
    load(engine, program)
    return execute(engine, program, inputs)[0]


def check_order(program):
    """No races, no lock-up; that sequential execution never waits, the simulator sees to."""
    hazards = find_hazards(program.instructions, program.config)
    assert not hazards, "\n".join(map(str, hazards[:5]))
    assert not find_lockup(program.instructions, program.config)


def check_network(network, config, inputs):
    """Compile, compare with the reference, check the order; returns the program."""
    program = compile_network(network, config)
    outputs = run_program(program, inputs)
    expected = reference.run(network, inputs)
    for name, values in outputs.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
    check_order(program)
    return program
