"""Several kernel positions in one array row: convolutions of few channels, such as first layers.

The input lies in DRAM densely, `[image][row][column][channel]`, so that what a kernel row reads
for one output is one run of `kernel columns x channels` bytes, a *patch*. LOAD cuts it into
sections: the array's rows are filled with `array` bytes of the patch, and what is left of several
kernel rows is put side by side. Each section is a convolution of its own, with one kernel column
and stride 1 along x, on an image whose position (v, u) holds the patch bytes of output column u;
all sections add into the same accumulators. DRAM holds no copy: the patches overlap in it.

A 7x7 kernel on 3 channels has patches of 21 bytes. On 16 array rows they make a section of 16
bytes with 7 kernel rows and one of 3 x 5 bytes with 3: ten passes instead of 49.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sw.compiler.tpu.layers import Axis, Convolution


@dataclass(frozen=True)
class Run:
    """Lanes `[lane, lane + length)` hold patch bytes from `first` on, `below` kernel rows down."""

    lane: int
    first: int
    length: int
    below: int


@dataclass(frozen=True)
class Section:
    """What one scratchpad row of a packed input holds; `rows` and `columns` are its image's axes.

    Image row v is the input's row `v - lift`, image column u output column `u + skip`.
    """

    runs: tuple[Run, ...]
    rows: Axis
    columns: Axis
    lift: int
    skip: int

    @property
    def lanes(self) -> int:
        """Lanes in use."""
        return sum(run.length for run in self.runs)

    def taps(self, kernel_row: int, kernel_rows: int) -> int:
        """Lanes that pass `kernel_row` needs of a kernel of `kernel_rows` rows."""
        left = kernel_rows - kernel_row * len(self.runs)
        return sum(run.length for run in self.runs[: max(left, 0)])


@dataclass(frozen=True)
class Line:
    """A LOAD: `lanes` bytes into lanes from `lane` on of image rows `[v0, v1)`, columns
    `[u0, u1)`; the first comes from byte `offset` of the image. `fill`: it fills other lanes."""

    v0: int
    v1: int
    u0: int
    u1: int
    lane: int
    lanes: int
    offset: int
    fill: bool


@dataclass(frozen=True)
class Packing:
    """The sections of a convolution's input: of `channels`, in rows of `width` positions; `step`
    positions from output to output, `before` the padding on the left, `dilation` of the kernel's
    rows."""

    sections: tuple[Section, ...]
    channels: int
    step: int
    before: int
    width: int
    dilation: int

    def passes(self, before: int | None = None) -> int:
        """Weight tiles of a block of outputs, or those of the sections `before` one."""
        return sum(section.rows.kernel for section in self.sections[:before])

    def lines(self, number: int, v0: int, v1: int, u0: int, u1: int) -> Iterator[Line]:
        """The LOADs of a box of section `number`'s image, those that fill first."""
        section = self.sections[number]
        high = section.rows.source - section.lift
        filled: tuple[int, int] | None = None
        for run in section.runs:
            down = run.below * self.dilation - section.lift
            low, end = max(v0, -down), min(v1, high - down)
            if low >= end:
                continue
            spans = [(low, end, False)]
            if filled is None:
                spans, filled = [(low, end, True)], (low, end)
            elif low < filled[0]:
                spans = [(low, filled[0], True), (filled[0], end, False)]
                filled = (low, filled[1])
            for first, last, fill in spans:
                if first < last:
                    yield from self._across(section, run, (first, last, u0, u1), down, fill)

    def _across(
        self, section: Section, run: Run, box: tuple[int, int, int, int], down: int, fill: bool
    ) -> Iterator[Line]:
        """The columns of a run: whole patches in one LOAD, those cut by the border one by one."""
        v0, v1, u0, u1 = box
        row = self.width * self.channels
        where = [self._start(section, run, u) for u in range(u0, u1)]
        whole = [u for u, at in zip(range(u0, u1), where, strict=True)
                 if at >= 0 and at + run.length <= row]  # fmt: skip
        line = Line(v0, v1, u0, u1, run.lane, run.length, (v0 + down) * row, fill)
        if whole:
            first = line.offset + where[whole[0] - u0]
            yield replace(line, u0=whole[0], u1=whole[-1] + 1, offset=first)
        for u, at in zip(range(u0, u1), where, strict=True):
            low, high = max(at, 0), min(at + run.length, row)
            if low < high and high - low < run.length:
                yield replace(
                    line, u0=u, u1=u + 1, lane=run.lane + low - at, lanes=high - low,
                    offset=line.offset + low,
                )  # fmt: skip

    def _start(self, section: Section, run: Run, u: int) -> int:
        """The byte of the input's row where the run begins for image column u."""
        return ((u + section.skip) * self.step - self.before) * self.channels + run.first

    def pack_weights(self, weights: NDArray[np.int8], array: int) -> NDArray[np.uint8]:
        """int8 `[kh, kw, cin, cout]` to tiles `[cout block][section][kernel row][array][array]`."""
        kh, kw, cin, cout = weights.shape
        blocks = -(-cout // array)
        rows = weights.reshape(kh, kw * cin, cout)
        tiles = np.zeros((self.passes(), array, blocks * array), np.int8)
        number = 0
        for section in self.sections:
            for kernel_row in range(section.rows.kernel):
                for run in section.runs:
                    at = kernel_row * len(section.runs) + run.below
                    if at < kh:
                        lanes = slice(run.lane, run.lane + run.length)
                        taken = rows[at, run.first : run.first + run.length]
                        tiles[number, lanes, :cout] = taken
                number += 1
        ordered = tiles.reshape(-1, array, blocks, array).transpose(2, 0, 1, 3)
        return np.ascontiguousarray(ordered).view(np.uint8).ravel()


def pack(layer: Convolution, axes: tuple[Axis, Axis], array: int) -> Packing | None:
    """How to pack a convolution's input; None if that takes no fewer passes than plain blocks, or
    if a kernel row is no run of bytes (dilated columns), or runs lie further apart than the image
    is high."""
    rows, columns = axes
    channels = layer.weights.shape[2]
    if columns.dilation > 1 and columns.kernel > 1:
        return None
    whole, rest = divmod(columns.kernel * channels, array)
    chunks: list[tuple[Run, ...]] = [(Run(0, i * array, array, 0),) for i in range(whole)]
    if rest:
        together = min(array // rest, rows.kernel)
        chunks.append(tuple(Run(i * rest, whole * array, rest, i) for i in range(together)))
    sections = tuple(_section(runs, rows, columns, channels) for runs in chunks)
    packing = Packing(
        sections, channels, columns.stride, columns.before, columns.source, rows.dilation
    )  # fmt: skip
    plain = rows.kernel * columns.kernel * -(-channels // array)
    usable = all(section.columns.source > 0 for section in sections)
    usable &= rows.source >= rows.dilation or all(len(section.runs) == 1 for section in sections)
    return packing if packing.passes() < plain and usable else None


def _section(runs: tuple[Run, ...], rows: Axis, columns: Axis, channels: int) -> Section:
    """The geometry of a section's image: columns that some byte reaches, rows that some run does"""
    lift = (len(runs) - 1) * rows.dilation
    first, length = runs[0].first, runs[0].length
    starts = [
        (u * columns.stride - columns.before) * channels + first for u in range(columns.result)
    ]
    inside = [u for u, at in enumerate(starts)
              if at < columns.source * channels and at + length > 0]  # fmt: skip
    skip, count = (inside[0], len(inside)) if inside else (0, 0)
    return Section(
        runs,
        Axis(
            rows.source + lift,
            rows.result,
            -(-rows.kernel // len(runs)),
            rows.stride,
            rows.dilation * len(runs),
            rows.before - lift,
        ),
        Axis(count, columns.result, 1, 1, 1, skip),
        lift,
        skip,
    )
