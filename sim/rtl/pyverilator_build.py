"""Child process of `build.py`: one PyVerilator build, without loading the result.

Arguments: Verilog file, build folder, C++ flags, "1" for FST waves, harness source, then
Verilator's own flags.
"""

import sys

import pyverilator
import pyverilator.pyverilator as implementation
import pyverilator.verilatorcpp as verilatorcpp


def main(arguments: list[str]) -> None:
    """Build; raises what PyVerilator raises."""
    verilog, folder, cxx_flags, fst, harness, *flags = arguments
    # PyVerilator probes for flushCall in a way that fails with Verilator 5, which has it.
    verilatorcpp.verilator_flushcall_ok = lambda: True
    # Loading belongs to the parent; constructing the model here would only cost time.
    implementation.PyVerilator.__init__ = lambda self, *_, **__: None
    implementation.PyVerilator.__del__ = lambda self: None
    pyverilator.PyVerilator.build(
        verilog,
        build_dir=folder,
        quiet=False,
        cargs=cxx_flags,
        args=[harness, *flags],
        dump_fst=fst == "1",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
