"""Transposed convolutions by phases: break if the addressing cannot do them without lost cycles.

See docs/decisions/0010. Outputs y*stride + phase are a plain convolution with every stride-th tap
of the kernel; VECTOR's destination strides interleave the phases.
"""

import numpy as np
import pytest

from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.isa import Convert, Memory, Opcode, make
from sim.functional import FunctionalSimulator
from sim.hazards import find_hazards
from sim.timing.simulator import predict

CONFIG = PRESETS["default"]
N = CONFIG.array
INPUT, WEIGHTS, OUTPUT, PROGRAM = 0, 1 << 16, 1 << 18, 1 << 20
PLANES = 4


def phases(size, result, kernel, stride, padding):
    """For each phase along an axis: (its outputs, its taps in reading order, first input read)."""
    for phase in range(min(stride, result)):
        first = (phase + padding) % stride
        taps = list(range(first, kernel, stride))[::-1]
        if taps:
            count = -(-(result - phase) // stride)
            yield phase, count, taps, (phase + padding) // stride - len(taps) + 1


def program(shape, kernel, stride, padding):
    """Instructions, weight tiles as (ky, kx) in their order, cycles that the array must work.

    FENCEs order everything, so that it stays short to read.
    """
    sizes = [(side - 1) * stride + kernel - 2 * padding for side in shape]
    rows, out = shape[0] * shape[1], sizes[0] * sizes[1]
    tiles, active = [], 0
    plain = {"row_bytes": N, "dram_row_stride": N}
    code = [make(Opcode.LOAD, address=INPUT, rows=rows, row_stride=1, **plain), make(Opcode.FENCE)]
    for py, ny, tys, top in phases(shape[0], sizes[0], kernel, stride, padding):
        for px, nx, txs, left in phases(shape[1], sizes[1], kernel, stride, padding):
            code += [
                make(
                    Opcode.LOAD, address=WEIGHTS + len(tiles) * N * N,
                    rows=N * len(tys) * len(txs), memory=Memory.WEIGHTS, **plain,
                ),
                make(
                    Opcode.MATMUL, source=(top * shape[1] + left) % isa.ROW_SPAN,
                    rows=ny, columns=nx, row_stride=shape[1], column_stride=1,
                    kernel_rows=len(tys), kernel_columns=len(txs), kernel_row_stride=shape[1],
                    kernel_column_stride=1, height=shape[0], width=shape[1], top=top, left=left,
                    step_y=1, step_x=1, dilation_y=1, dilation_x=1, accumulator_row_stride=nx,
                    accumulator_column_stride=1, used_rows=N, used_columns=N,
                ),
                make(Opcode.FENCE),
            ]  # fmt: skip
            code += [
                make(
                    Opcode.VECTOR, convert=Convert.BYTE, byte=plane, rows=ny, columns=nx,
                    row_stride=nx, column_stride=1, height=ny, width=nx, step_y=1, step_x=1,
                    destination=rows + plane * out + py * sizes[1] + px,
                    destination_row_stride=stride * sizes[1], destination_column_stride=stride,
                    low=-128, high=127,
                )
                for plane in range(PLANES)
            ]  # fmt: skip
            code.append(make(Opcode.FENCE))
            tiles += [(ky, kx) for ky in tys for kx in txs]
            active += ny * nx * len(tys) * len(txs)
    code.append(
        make(Opcode.STORE, address=OUTPUT, base=rows, rows=PLANES * out, row_stride=1, **plain)
    )
    return [*code, make(Opcode.HALT)], tiles, active, sizes


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(4, 2, 1), (3, 2, 1), (2, 2, 0), (5, 3, 2), (3, 1, 1)]
)
def test_equals_the_definition_and_every_product_is_useful(rng, kernel, stride, padding):
    shape = (5, 6)
    x = rng.integers(-128, 128, (*shape, N), dtype=np.int8)
    weights = rng.integers(-128, 128, (kernel, kernel, N, N), dtype=np.int8)
    instructions, tiles, active, sizes = program(shape, kernel, stride, padding)
    assert not find_hazards(instructions, CONFIG)
    assert sorted(tiles) == [(ky, kx) for ky in range(kernel) for kx in range(kernel)]

    engine = FunctionalSimulator(CONFIG, 1 << 21)
    engine.write(INPUT, x.view(np.uint8).ravel())
    engine.write(WEIGHTS, np.stack([weights[tile] for tile in tiles]).view(np.uint8).ravel())
    engine.write(PROGRAM, np.frombuffer(isa.assemble(instructions), np.uint8))
    engine.run(PROGRAM, len(instructions))
    raw = engine.read(OUTPUT, PLANES * sizes[0] * sizes[1] * N).reshape(PLANES, *sizes, N)
    found = np.ascontiguousarray(np.moveaxis(raw, 0, -1)).view("<i4")[..., 0]

    full = np.zeros([(side - 1) * stride + kernel for side in shape] + [N], np.int64)
    for y in range(shape[0]):
        for c in range(shape[1]):
            part = np.einsum("i,abio->abo", x[y, c].astype(np.int64), weights.astype(np.int64))
            full[y * stride : y * stride + kernel, c * stride : c * stride + kernel] += part
    end = [side - padding for side in full.shape[:2]]
    np.testing.assert_array_equal(found, full[padding : end[0], padding : end[1]])

    counters = predict(instructions, CONFIG).counters
    assert counters["array_active"] == active
    # a stuffed image would take stride**2 times the passes
    assert active <= sizes[0] * sizes[1] * kernel**2 / stride**2 * 1.6
