"""ctypes face of `harness.cpp`: argument types of each function, and the model's life time."""

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import pyverilator

# name: (result, arguments after the handle)
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "h_model": (c_void_p, []),
    "h_close": (None, []),
    "h_memory": (None, [POINTER(c_uint8), *[c_uint64] * 5]),
    "h_fault": (None, [c_uint64, c_uint64, c_int, c_int]),
    "h_fail_beat": (None, [c_int, c_uint64, c_int]),
    "h_kill": (None, [c_int, c_uint64]),
    "h_clear_faults": (None, []),
    "h_failed_at": (c_uint64, []),
    "h_under_way": (c_uint64, []),
    "h_reset": (None, [c_uint64]),
    "h_run": (c_int, [c_uint64, c_int]),
    "h_cycle": (c_uint64, []),
    "h_violation": (c_char_p, []),
    "h_write": (c_int, [c_uint32, c_uint32]),
    "h_read": (c_int, [c_uint32, POINTER(c_uint32)]),
    "h_irq": (c_int, []),
    "h_traffic": (c_uint64, [c_int]),
    "h_record": (None, [c_int]),
    "h_event_words": (c_uint64, []),
    "h_event_count": (c_uint64, []),
    "h_events": (POINTER(c_uint64), []),
    "h_clear_events": (None, []),
    "h_witness_bytes": (c_uint64, []),
    "h_witnessed": (c_uint64, []),
    "h_witness": (POINTER(c_uint8), []),
    "h_clear_witness": (None, []),
    "h_waves": (c_int, [c_char_p]),
    "h_coverage": (c_int, [c_char_p]),
    "h_flush_waves": (None, []),
}


class Native:
    """One instance of a Verilated design with its harness; `call("h_run", ...)` reaches it.

    Calls release the GIL, so other Python threads run meanwhile. `pins` is PyVerilator's view
    of the top-level pins, for looking around between runs.
    """

    def __init__(self, library: Path) -> None:
        ctypes.CDLL(str(library)).h_default_context()
        self.pins = pyverilator.PyVerilator(str(library), auto_eval=False)
        lib = self.pins.lib
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(lib, name)
            function.restype = result
            function.argtypes = [c_void_p, *arguments]
        # The harness makes the model in a context of its own; PyVerilator's is not needed.
        lib.destruct.argtypes = [c_void_p]
        lib.destruct(self.pins.model)
        self.pins.model = None
        lib.h_open.restype = c_void_p
        self._handle: int | None = lib.h_open()
        self.pins.model = self.call("h_model")

    def call(self, name: str, *arguments: Any) -> Any:
        """Call harness function `name`; RuntimeError after `close`."""
        if self._handle is None:
            raise RuntimeError("the RTL model is closed")
        return getattr(self.pins.lib, name)(self._handle, *arguments)

    def read_register(self, address: int) -> tuple[int, int]:
        """(response, value) of one AXI4-Lite read."""
        value = c_uint32()
        return self.call("h_read", address, ctypes.byref(value)), value.value

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    def close(self) -> None:
        """Finish the wave file and free the harness; a second call does nothing."""
        if self._handle is not None:
            self.pins.lib.h_close(self._handle)
            self._handle = None
            self.pins.model = None  # deleted with the harness; PyVerilator must not try again
