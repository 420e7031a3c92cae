"""`RtlModel`: a Verilated design behind its memory, registers and interrupt.

It knows the pins (`m_axi__*`, `s_axi__*`, `irq`, `trace`) and no instruction.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Elaboratable

from sim.memory import MemoryTiming
from sim.rtl.build import build, wave_format
from sim.rtl.native import Native
from sim.rtl.progress import RunProgress
from sim.rtl.verilog import Verilog, convert

Reason = Literal["limit", "irq"]
Channel = Literal["AR", "AW", "W", "R", "B"]
_REASONS: dict[int, Reason] = {0: "limit", 1: "irq"}
_VIOLATION = 2
_CHANNELS = ("AR", "AW", "W", "R", "B")
_RESPONSES = {"SLVERR": 2, "DECERR": 3}
# Long enough that the call costs nothing, short enough that Ctrl-C answers at once.
_CHUNK_SECONDS = 0.05
_FIRST_CHUNK = 2_000
_RESET_CYCLES = 8


class AxiViolation(RuntimeError):  # noqa: N818 -- it names what happened, as AXI does
    """The design broke an AXI rule; the message gives cycle and rule."""


class RegisterError(RuntimeError):
    """A register access got an error response, or none."""


@dataclass(frozen=True)
class Stop:
    """Why `RtlModel.run` returned, and how many cycles it ran."""

    reason: Reason
    cycles: int


class RtlModel:
    """A running Verilated design. Use as a context manager; `reset()` has been done once.

    - `design`: a `wiring.Component`, a factory of one, or `Verilog` already converted.
    - `key`: with a factory, skips elaboration while unchanged (see `verilog.source_key`).
    - `dram_bytes`: size of the memory at AXI address 0; beyond it answers DECERR.
    - `trace_path`: waves go there, suffix `.vcd` or `.fst`, whichever this machine can write.
    - `stand_in`: a systolic array is replaced by what it computes, see `array_stand_in`.
    - `skip_idle`: what nothing has happened to is not evaluated, see `idle_skipping`; never so
      with waves or coverage.
    - `progress`: report long builds and runs on standard error.
    - `coverage`: count it; see `write_coverage`.

    Raises `ToolMissing`, `ConversionError`, `BuildError`; ValueError for a wrong argument.
    """

    def __init__(
        self,
        design: Elaboratable | Callable[[], Elaboratable] | Verilog,
        *,
        dram_bytes: int,
        memory: MemoryTiming | None = None,
        trace_path: str | Path | None = None,
        progress: bool = True,
        key: str | None = None,
        coverage: bool = False,
        stand_in: bool = False,
        skip_idle: bool = True,
    ) -> None:
        if dram_bytes < 1:
            raise ValueError(f"dram_bytes must be positive: {dram_bytes}")
        if trace_path is not None and Path(trace_path).suffix != f".{wave_format()}":
            raise ValueError(
                f"trace_path must end in .{wave_format()} on this machine: {trace_path}"
            )
        verilog = design if isinstance(design, Verilog) else convert(design, key=key)
        library = build(
            verilog,
            waves=trace_path is not None,
            coverage=coverage,
            stand_in=stand_in,
            skip_idle=skip_idle,
        )
        self.memory = memory or MemoryTiming()
        self.progress = progress
        # Whole bus words (64 bytes at most) are copied, so the last one must be there.
        self._storage = np.zeros(-(-dram_bytes // 64) * 64, dtype=np.uint8)
        self.dram: npt.NDArray[np.uint8] = self._storage[:dram_bytes]
        self.library = library.path
        self._native = Native(library.path)
        self.set_memory(self.memory)
        if trace_path is not None and not self._native.call("h_waves", str(trace_path).encode()):
            self.close()
            raise OSError(f"cannot write waves to {trace_path}")
        self._run_cycles = 0
        self._run_seconds = 0.0
        self.reset()

    @property
    def cycle(self) -> int:
        """Clock cycles since construction, resets included."""
        return int(self._native.call("h_cycle"))

    @property
    def irq(self) -> bool:
        """The interrupt pin now."""
        return bool(self._native.call("h_irq"))

    @property
    def dram_read_bytes(self) -> int:
        """Bytes asked for in read beats since construction."""
        return int(self._native.call("h_traffic", 0))

    @property
    def dram_write_bytes(self) -> int:
        """Bytes covered by write beats since construction, whatever their strobes."""
        return int(self._native.call("h_traffic", 1))

    @property
    def cycles_per_second(self) -> float:
        """Simulated speed of all `run` calls so far; 0 before the first."""
        return self._run_cycles / self._run_seconds if self._run_seconds else 0.0

    def set_memory(self, timing: MemoryTiming) -> None:
        """Change the memory's timing; bursts under way are forgotten, contents stay."""
        self.memory = timing
        self._native.call(
            "h_memory",
            self._storage.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)),
            len(self.dram),
            timing.latency,
            round(timing.bytes_per_cycle * 65536),
            timing.jitter,
            timing.seed,
        )

    def reset(self) -> None:
        """Hold `rst` for eight cycles, drop all bursts in flight; DRAM and faults stay."""
        self._native.call("h_reset", _RESET_CYCLES)

    def add_fault(
        self, first: int, last: int, *, write: bool, response: Literal["SLVERR", "DECERR"]
    ) -> None:
        """Answer beats that touch byte addresses `first..last` (both included) with an error."""
        if response not in _RESPONSES or not 0 <= first <= last:
            raise ValueError(f"bad fault: {first}..{last} {response}")
        self._native.call("h_fault", first, last, int(write), _RESPONSES[response])

    def fail_beat(self, number: int, *, write: bool, response: Literal["SLVERR", "DECERR"]) -> None:
        """Answer the `number`-th beat from now on (1: the next) with an error, wherever it is."""
        if response not in _RESPONSES or number < 1:
            raise ValueError(f"bad fault: beat {number} {response}")
        self._native.call("h_fail_beat", int(write), number, _RESPONSES[response])

    @property
    def failed_beat(self) -> int | None:
        """Bus address of the beat that `fail_beat` chose; None while it is still to come."""
        address = int(self._native.call("h_failed_at"))
        return None if address == (1 << 64) - 1 else address

    def kill_channel(self, channel: Channel, after: int = 0) -> None:
        """Make the memory ignore a channel after so many more of its handshakes."""
        if channel not in _CHANNELS or after < 0:
            raise ValueError(f"bad fault: channel {channel} after {after}")
        self._native.call("h_kill", _CHANNELS.index(channel), after)

    @property
    def bursts_under_way(self) -> int:
        """Bursts that the memory has accepted and not answered to the end."""
        return int(self._native.call("h_under_way"))

    def clear_faults(self) -> None:
        """Forget faults of addresses and beats, for bursts to come; dead channels live again."""
        self._native.call("h_clear_faults")

    def read_register(self, address: int) -> int:
        """The 32-bit word at byte address `address` of the AXI4-Lite port."""
        response, value = self._native.read_register(address)
        self._check_response("read", address, response)
        return value

    def write_register(self, address: int, value: int) -> None:
        """Write a 32-bit word at byte address `address` of the AXI4-Lite port."""
        if not 0 <= value < 1 << 32:
            raise ValueError(f"register value does not fit in 32 bits: {value}")
        self._check_response("write", address, self._native.call("h_write", address, value))

    def run(self, max_cycles: int, until_irq: bool = True) -> Stop:
        """Clock the design until `max_cycles` have passed or, with `until_irq`, `irq` is high.

        Raises `AxiViolation` when the design breaks an AXI rule. KeyboardInterrupt arrives
        between two chunks of about 50 ms and leaves the model as if the run had been shorter.
        """
        if max_cycles < 0:
            raise ValueError(f"max_cycles must not be negative: {max_cycles}")
        done, chunk = 0, _FIRST_CHUNK
        with RunProgress(max_cycles, enabled=self.progress) as report:
            while done < max_cycles:
                before, start = self.cycle, perf_counter()
                code = self._native.call("h_run", min(chunk, max_cycles - done), int(until_irq))
                seconds, cycles = perf_counter() - start, self.cycle - before
                done += cycles
                self._run_cycles += cycles
                self._run_seconds += seconds
                if code == _VIOLATION:
                    raise AxiViolation(self._violation())
                if _REASONS[code] == "irq":
                    return Stop("irq", done)
                chunk = max(
                    _FIRST_CHUNK, int(chunk * min(4.0, _CHUNK_SECONDS / max(seconds, 1e-6)))
                )
                report.update(done)
        return Stop("limit", done)

    def record_events(self, on: bool = True) -> None:
        """Start or stop recording changes of the `trace` port; the first sample counts as one."""
        self._native.call("h_record", int(on))

    def trace_events(self, *, clear: bool = True) -> npt.NDArray[np.uint64]:
        """Recorded changes, shape (events, 1 + words): cycle, then the value, low word first.

        A design without a `trace` port has no words and no events.
        """
        words, count = self._native.call("h_event_words"), self._native.call("h_event_count")
        if count == 0:
            return np.zeros((0, 1 + words), dtype=np.uint64)
        flat = np.ctypeslib.as_array(self._native.call("h_events"), (count, 1 + words))
        events = flat.copy()  # the native buffer moves as it grows
        if clear:
            self._native.call("h_clear_events")
        return events

    def witnessed(self) -> npt.NDArray[np.uint8]:
        """Values of the `witness` port, `[cycles, bytes]`, of each cycle since the last call in
        which its low 16 bits were not all zero. A design without the port has none."""
        count = self._native.call("h_witnessed")
        width = self._native.call("h_witness_bytes")
        if count == 0:
            return np.zeros((0, width), np.uint8)
        values = np.ctypeslib.as_array(self._native.call("h_witness"), (count,)).copy()
        self._native.call("h_clear_witness")
        return values.reshape(-1, width)

    def write_coverage(self, path: Path) -> None:
        """Write the count of every coverage point since construction, in Verilator's format."""
        if not self._native.call("h_coverage", str(path).encode()):
            raise RuntimeError("this model was built without coverage")

    def close(self) -> None:
        """Finish the wave file and free the native model; a second call does nothing."""
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _violation(self) -> str:
        return str(self._native.call("h_violation").decode())

    def _check_response(self, what: str, address: int, response: int) -> None:
        if response == -2:
            raise AxiViolation(self._violation())
        if response != 0:
            names = {-1: "no answer", 2: "SLVERR", 3: "DECERR"}
            answer = names.get(response, f"response {response}")
            raise RegisterError(f"{what} of register {address:#x}: {answer}")
