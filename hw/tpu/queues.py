"""One instruction queue: a FIFO of decoded commands and the gate that takes their semaphores."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out

from hw.tpu.config import TpuConfig
from hw.tpu.interfaces import POSITION_BITS, command
from hw.tpu.isa import SEMAPHORES, Format


class CommandQueue(Component):
    """Commands come out of `ready` in order, each once its `wait` semaphores have been taken.

    The gate holds one granted command, so that semaphores are fetched while the unit still works
    on the command before. `waiting` says that the head lacks a semaphore; `head_position` and
    `head_tag` name it.
    """

    def __init__(self, config: TpuConfig, fmt: type[Format]) -> None:
        self.config, self.fmt = config, fmt
        layout = command(fmt)
        super().__init__(
            {
                "decoded": In(stream.Signature(layout)),
                "granted": Out(stream.Signature(layout)),
                "request": Out(1),
                "mask": Out(SEMAPHORES),
                "grant": In(1),
                "waiting": Out(1),
                "head_position": Out(POSITION_BITS),
                "head_tag": Out(16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layout = command(self.fmt)
        used = sum(item.bits for item in self.fmt.fields.values())
        # the word's trailing zeros need no storage
        stored = data.StructLayout({"fields": used, "position": POSITION_BITS})
        m.submodules.fifo = fifo = SyncFIFO(width=stored.size, depth=self.config.queue_depth)
        push = stored(fifo.w_data)
        m.d.comb += [
            push.fields.eq(self.decoded.payload.op.as_value()),
            push.position.eq(self.decoded.payload.position),
            fifo.w_en.eq(self.decoded.valid),
            self.decoded.ready.eq(fifo.w_rdy),
        ]
        head = Signal(layout)
        pop = stored(fifo.r_data)
        m.d.comb += [head.op.as_value().eq(pop.fields), head.position.eq(pop.position)]

        held = Signal(layout, reset_less=True)
        full = Signal()
        m.d.comb += [
            self.granted.payload.eq(held),
            self.granted.valid.eq(full),
            self.request.eq(fifo.r_rdy & (~full | self.granted.ready)),
            self.mask.eq(head.op.wait),
            fifo.r_en.eq(self.grant),
            self.waiting.eq(self.request & ~self.grant),
            self.head_position.eq(head.position),
            self.head_tag.eq(head.op.tag),
        ]
        with m.If(self.grant):
            m.d.sync += [held.eq(head), full.eq(1)]
        with m.Elif(self.granted.ready):
            m.d.sync += full.eq(0)
        return m
