"""Random networks whose layers branch, add, map through tables and concatenate, from a seed."""

from dataclasses import replace

import numpy as np

from hw.tpu import numerics
from hw.tpu.config import PRESETS, TpuConfig
from sw.compiler.tpu.layers import (
    Activation,
    Concat,
    Convolution,
    Epilogue,
    Multiply,
    Pointwise,
    Product,
)
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.transposed import by_phases
from tests.compiler.tpu.random_networks import (
    PRESSED,
    SIZES,
    input_values,
    make_convolution,
    make_depthwise,
    make_pool,
)

DEPTHS = (1, 3, 8, 16, 17, 24, 40)
"""Numbers of channels: some that fill blocks, some that leave lanes idle."""


def random_dag(seed, pressed=False):
    """`(network, config, inputs)`: 4-12 layers on a random preset; the same for the same seed.

    `pressed`: the preset with memories so small that most tensors must live in DRAM.
    """
    rng = np.random.default_rng([seed, 99])
    preset = str(rng.choice(["tiny", "tiny", "default", "large"]))
    config = PRESETS[preset]
    if pressed:
        config = TpuConfig.parse(f"{preset},{PRESSED[0]},lane_rows=512")
    maker = _Maker(rng, SIZES[preset], config.parameter_entries // 2)
    network = maker.make(int(rng.integers(4, 13)))
    return network, config, maker.inputs


class _Maker:
    def __init__(self, rng, limit, most):
        self.rng, self.limit, self.most = rng, limit, most
        side = max(2, int((limit / 16) ** 0.5))
        shape = (int(rng.choice([1, 1, 2])), *rng.integers(2, side + 1, 2).tolist())
        self.shape = shape
        self.items = [self._item("a0", (*shape, int(rng.choice(DEPTHS))))]
        if rng.integers(3) == 0:
            self.items.append(self._item("b0", (*shape, int(rng.choice(DEPTHS)))))
        self.sources = tuple(item.name for item in self.items)
        self.layers = []
        self.hidden = set()
        """Phases, which nothing else may read."""

    def make(self, wanted):
        for _ in range(200):
            if len(self.layers) >= wanted:
                break
            kinds = (
                self._convolve, self._window, self._add, self._table, self._concat, self._add,
                self._transpose,
                self._multiply, self._product, self._product,
            )  # fmt: skip
            made = kinds[self.rng.integers(len(kinds))](f"layer{len(self.layers)}")
            if made is not None and np.prod(made[-1][1].shape) <= 3 * self.limit:
                for layer, item in made:
                    self.layers.append(layer)
                    self.items.append(item)
        used = {name for layer in self.layers for name in layer.inputs}
        names = [layer.output for layer in self.layers]
        outputs = [name for name in names if name not in used or self.rng.integers(8) == 0]
        outputs = [name for name in outputs if name not in self.hidden]
        inputs = tuple(name for name in self.sources if name in used)
        kept = [item for item in self.items if item.name in {*inputs, *names}]
        network = Network(inputs, tuple(self.layers), tuple(outputs), tuple(kept))
        self.inputs = input_values(self.rng, network)
        return network

    def _item(self, name, shape):
        scale = float(np.float32(self.rng.uniform(0.02, 0.2)))
        return Activation(name, shape, scale, int(self.rng.integers(-128, 128)))

    def _pick(self):
        """An activation, recent ones more often."""
        known = self._known()
        return known[-int(min(self.rng.geometric(0.4), len(known)))]

    def _known(self):
        return [item for item in self.items if item.name not in self.hidden]

    def _clamp(self):
        low, high = [(-128, 127), (0, 127), (-30, 60)][self.rng.integers(3)]
        return {"low": low, "high": high}

    def _convolve(self, name):
        side = int(self.rng.choice([1, 1, 3]))
        pads = ((side // 2, side // 2),) * 2
        steps = (1, 1) if self.rng.integers(4) else (2, 2)
        cout = int(self.rng.choice(DEPTHS))
        clamp = self._clamp() if self.rng.integers(2) else {}
        made = make_convolution(
            self.rng, name, self._pick(), name, cout, (side, side), steps, pads, **clamp
        )
        return None if made is None else [made]

    def _window(self, name):
        pads = ((1, 1), (1, 1))
        if self.rng.integers(2):
            made = make_pool(name, self._pick(), name, (3, 3), (1, 1), pads)
        else:
            average = bool(self.rng.integers(2))
            made = make_depthwise(
                self.rng, name, self._pick(), name, (3, 3), (1, 1), pads, average, self.most
            )
        return None if made is None else [made]

    def _transpose(self, name):
        """By phases: some kernels are shorter than the strides, some results are cropped."""
        source, rng = self._pick(), self.rng
        kernel, strides, dilations = rng.integers(1, 5, 2), rng.integers(1, 4, 2), (1, 1)
        if rng.integers(3) == 0:
            dilations = tuple(rng.integers(1, 4, 2).tolist())
        reach = (kernel - 1) * dilations + 1
        front, back = (rng.integers(0, kernel) for _ in range(2))
        height, width = (
            int((source.shape[1 + i] - 1) * strides[i] + reach[i] - front[i] - back[i])
            for i in (0, 1)
        )
        if min(height, width) < 1:
            return None
        cout = int(rng.choice(DEPTHS))
        codes = rng.integers(-127, 128, (*kernel, source.shape[3], cout)).astype(np.int8)
        scale = np.full(cout, 1 / (300 * codes[..., 0].size ** 0.5), np.float32)
        bias = rng.integers(-5000, 5000, cout).astype(np.int32)
        pads = tuple((int(a), int(b)) for a, b in zip(front, back, strict=True))
        plain = Convolution(
            name,
            source.name,
            name,
            codes,
            bias,
            scale,
            tuple(strides.tolist()),
            pads,
            dilations,
        )
        result = self._item(name, (source.shape[0], height, width, cout))
        made, joined = by_phases(plain, source.shape[1:3], (height, width))
        parts = []
        for layer, (y, x) in zip(made, joined.phases(), strict=True):
            sides = (len(range(y, height, joined.steps[0])), len(range(x, width, joined.steps[1])))
            shape = (source.shape[0], *sides, cout)
            parts.append((layer, replace(result, name=layer.output, shape=shape)))
        self.hidden |= {layer.output for layer in made}
        return [*parts, (joined, result)]

    def _add(self, name):
        source = self._pick()
        others = [item for item in self._known() if item.shape == source.shape]
        second = others[self.rng.integers(len(others))]
        result = self._item(name, source.shape)
        epilogue = Epilogue(
            (source.scale, source.zero_point), second.name, bool(self.rng.integers(2)),
            (result.scale, result.zero_point),
        )  # fmt: skip
        try:
            epilogue.add_constants(second)
        except ValueError:
            return None
        return [(Pointwise(name, source.name, name, epilogue, **self._clamp()), result)]

    def _table(self, name):
        source = self._pick()
        result = self._item(name, source.shape)
        shape = (256,) if self.rng.integers(3) else (256, source.shape[3])
        table = self.rng.integers(-128, 128, shape, dtype=np.int8)
        epilogue = Epilogue((source.scale, source.zero_point), table=table)
        return [(Pointwise(name, source.name, name, epilogue, **self._clamp()), result)]

    def _symmetric(self, name):
        """An activation as it is, or mapped to zero point 0, and the layer that does that."""
        item = self._pick()
        if item.zero_point == 0:
            return [], item
        table = self.rng.integers(-128, 128, 256, dtype=np.int8)
        made = Activation(f"{name}/zero", item.shape, 0.1, 0)
        epilogue = Epilogue((item.scale, item.zero_point), table=table)
        return [(Pointwise(made.name, item.name, made.name, epilogue), made)], made

    def _multiply(self, name):
        """Of one shape, or with one position for each image."""
        made, source = self._symmetric(f"{name}/a")
        images, _, _, channels = source.shape
        shapes = source.shape, (images, 1, 1, channels)
        others = [i for i in self.items if i.shape in shapes and i.zero_point == 0]
        operand = others[self.rng.integers(len(others))] if others else source
        result = self._item(name, source.shape)
        layer = Multiply(
            name, source.name, operand.name, name, channels,
            np.float32(self.rng.uniform(0.005, 0.05)), **self._clamp(),
        )  # fmt: skip
        return [*made, (layer, result)]

    def _product(self, name):
        """Of rows: a convolution's result seldom is one row, so that pools make some."""
        rows = [item for item in self.items if item.shape[1] == 1]
        if not rows:
            source = self._pick()
            window = (source.shape[1], 1)
            made = make_pool(name, source, name, window, (1, 1), ((0, 0), (0, 0)))
            return None if made is None or window[0] > 9 else [made]
        source = rows[-int(min(self.rng.geometric(0.5), len(rows)))]
        images, _, count, depth = source.shape
        fits = [(item, False) for item in rows if item.shape[::2] == (images, depth)]
        fits += [(item, True) for item in rows if item.shape[::3] == (images, depth)]
        if not fits:
            return None
        operand, transposed = fits[self.rng.integers(len(fits))]
        channels = operand.shape[2 if transposed else 3]
        result = self._item(name, (images, 1, count, channels))
        scale = np.float32(self.rng.uniform(0.5, 2) / (70 * np.sqrt(depth)))
        layer = Product(
            name, source.name, operand.name, name, depth, channels, scale, transposed,
            **self._clamp(),
        )  # fmt: skip
        return [(layer, result)]

    def _concat(self, name):
        """Two to four activations of one size, mapped to one quantisation where they differ."""
        first = self._pick()
        others = [item for item in self._known() if item.shape[:3] == first.shape[:3]]
        chosen = [first, *(others[i] for i in self.rng.integers(0, len(others), 3))]
        chosen = chosen[: int(self.rng.integers(2, 5))]
        made = []
        for number, item in enumerate(chosen):
            if (item.scale, item.zero_point) != (first.scale, first.zero_point):
                table = numerics.quantize(
                    numerics.dequantize(np.arange(-128, 128), item.scale, item.zero_point),
                    first.scale,
                    first.zero_point,
                )
                epilogue = Epilogue((item.scale, item.zero_point), table=table)
                mapped = Activation(f"{name}/{number}", item.shape, first.scale, first.zero_point)
                made.append((Pointwise(mapped.name, item.name, mapped.name, epilogue), mapped))
                chosen[number] = mapped
        channels = sum(item.shape[3] for item in chosen)
        result = Activation(name, (*first.shape[:3], channels), first.scale, first.zero_point)
        made.append((Concat(name, tuple(item.name for item in chosen), name), result))
        return made
