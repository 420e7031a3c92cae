"""The back half of the TPU compiler: a network of layers becomes a program.

settle (operands get a producer) -> combine (fewer layers) -> arrange (concatenations are
addresses) -> place (what stays on chip, how layers are cut) -> lay out DRAM -> schedule (program
order) -> synchronise (semaphores) -> link.
"""

from __future__ import annotations

from hw.tpu.config import TpuConfig
from hw.tpu.program import TpuProgram
from sw.compiler.tpu.allocate import place
from sw.compiler.tpu.arrange import arrange
from sw.compiler.tpu.combine import combine
from sw.compiler.tpu.constants import lay_out, port
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.schedule import schedule
from sw.compiler.tpu.settle import settle
from sw.compiler.tpu.synchronise import synchronise


def compile_network(network: Network, config: TpuConfig, *, packing: bool = True) -> TpuProgram:
    """A program that computes `network` on a core of `config`.

    `packing`: first layers may be packed; without it their weights lie as `pack_weights` has them.
    Ports bear the names of the network's inputs and outputs; tags bear those of its layers. Raises
    `CompileError` if a layer cannot fit the core.
    """
    given, network = network, arrange(combine(settle(network), config), config.array)
    placement = place(network, config, packing=packing)
    stored = {*network.inputs, *map(network.whole, network.outputs)}
    stored |= {network.whole(layer.output) for layer in network.workers} - set(placement.resident)
    stored |= {network.whole(name) for name in network.operands}
    memory = lay_out(network, config, placement, stored)
    emitter = schedule(network, config, placement, memory)
    dense = placement.packed(network)
    ports = [
        tuple(
            port(network, name, memory.buffers[name].base * config.array, dense=name in dense)
            for name in names
        )
        for names in (network.inputs, network.outputs)
    ]
    instructions = synchronise(emitter.operations, emitter.sizes, config.queue_depth)
    return TpuProgram.link(
        config,
        instructions,
        memory.image,
        memory.size,
        inputs=ports[0],
        outputs=ports[1],
        tags={number: layer.name for number, layer in enumerate(network.workers)},
        macs=given.macs(),
    )
