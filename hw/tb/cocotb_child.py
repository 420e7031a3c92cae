"""Child process of `runner.py`: one build or one run with cocotb's Python runner.

Its only argument is a JSON object; see `runner.py` for the keys. Never imported by benches.
"""

import json
import sys
from pathlib import Path

from cocotb_tools.runner import get_runner


def main(order: dict) -> None:
    """Do what `order` says; a failed build or run raises."""
    runner = get_runner("verilator")
    folder = Path(order["build"])
    if order["phase"] == "build":
        runner.build(
            sources=[folder / f"{order['top']}.v"],
            hdl_toplevel=order["top"],
            build_dir=folder,
            build_args=order["flags"],
            waves=order["waves"],
            timescale=("1ns", "1ps"),
        )
        return
    runner.test(
        test_module=order["module"],
        hdl_toplevel=next(folder.glob("*.v")).stem,
        hdl_toplevel_lang="verilog",
        build_dir=folder,
        test_dir=order["here"],
        results_xml=order["results"],
        waves=order["waves"],
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
