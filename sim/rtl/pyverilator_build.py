"""Child process of `build.py`: one PyVerilator build, without loading the result.

Arguments: Verilog file, build folder, C++ flags, "1" for FST waves, "1" to skip idle parts, harness
source, then Verilator's own flags.
"""

import sys
from pathlib import Path

import pyverilator
import pyverilator.pyverilator as implementation
import pyverilator.verilatorcpp as verilatorcpp

from sim.rtl import idle_skipping
from sim.rtl.cxx_statements import UnknownFormError


def main(arguments: list[str]) -> None:
    """Build; raises what PyVerilator raises."""
    verilog, folder, cxx_flags, fst, skip_idle, harness, *flags = arguments
    call = implementation.call_process

    def call_process(command: list[str], **options: bool) -> None:
        if command[0] == "make" and skip_idle == "1":
            try:
                groups = idle_skipping.rewrite(Path(folder), Path(verilog).stem)
                print(f"idle skipping: {len(groups)} groups")
            except UnknownFormError as reason:  # evaluated in full, then: slower, and the same
                print(f"no idle skipping: {reason}")
        call(command, **options)

    implementation.call_process = call_process
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
