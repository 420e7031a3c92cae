"""Random quantised graphs of every op that the TPU takes, as branching as networks are."""

import numpy as np

import systolica as st

DEPTHS = (1, 3, 4, 8, 12, 16, 17, 24, 33)
MAPS = {
    "sigmoid": lambda x, rng: st.sigmoid(x),
    "tanh": lambda x, rng: st.tanh(x),
    "gelu": lambda x, rng: st.nn.gelu(x),
    "elu": lambda x, rng: st.nn.elu(x),
    "softplus": lambda x, rng: st.nn.softplus(x),
    "leaky relu": lambda x, rng: st.nn.leaky_relu(x, 0.1),
    "hard swish": lambda x, rng: x * st.nn.relu6(x + 3.0) * (1 / 6),
    "swish": lambda x, rng: x * st.sigmoid(x),
    "exp": lambda x, rng: st.exp(x * 0.5),
    "normalise": lambda x, rng: st.nn.relu(
        x * rng.uniform(0.5, 2, x.shape.dims[-1]).astype(np.float32)
        + rng.normal(size=x.shape.dims[-1]).astype(np.float32)
    ),
    "nothing": lambda x, rng: x,
}


class RandomGraph:
    """`graph` with placeholders fed by `feeds` and `wanted` tensors, by name; the same for the
    same seed."""

    def __init__(self, seed, device="/tpu:0"):
        self.rng = np.random.default_rng([seed, 2016])
        self.feeds, self.open, self.kinds = {}, {}, []
        with st.Graph().as_default() as self.graph, st.device(device):
            self._build()
        self.wanted = [tensor.name for tensor in self.open]

    def _build(self):
        rng = self.rng
        self.size = (int(rng.choice([1, 1, 1, 2])), *rng.integers(3, 9, 2).tolist())
        self.held = [self._source(f"x{i}") for i in range(int(rng.integers(1, 3)))]
        steps = [
            self._convolve, self._convolve, self._depthwise, self._pool, self._mean, self._add,
            self._add, self._concat, self._map, self._map, self._flatten, self._matmul,
            self._transpose,
            self._multiply, self._product, self._product,
        ]  # fmt: skip
        wanted = int(rng.integers(2, 10))
        while len(self.kinds) < wanted:
            made = steps[rng.integers(len(steps))]()
            if made is not None and made.shape.num_elements() < 6000:
                self.held.append(made)
                self.open[made] = None
                self.kinds.append(made.op.type)

    # --- pieces ----------------------------------------------------------------------------------

    def _source(self, name):
        shape = (*self.size, int(self.rng.choice(DEPTHS)))
        x = st.placeholder(st.float32, shape, name=name)
        self.feeds[x.name] = self.rng.normal(size=shape).astype(np.float32) * 2
        return self._close(x, 0.03)

    def _close(self, real, scale, zero=None):
        """Quantised at about `scale` and dequantised again."""
        scale = np.float32(scale * self.rng.uniform(0.6, 1.8))
        low = -128 if real.op.type in ("relu", "relu6") and self.rng.integers(2) else None
        zero = int(self.rng.integers(-128, 128)) if zero is None else zero
        zero = zero if low is None else low
        return self._pair(real, scale, zero)

    @staticmethod
    def _pair(real, scale, zero):
        return st.dequantize_linear(st.quantize_linear(real, scale, zero), scale, zero)

    @staticmethod
    def _scale(tensor):
        return float(tensor.op.inputs[1].op.attrs["value"])

    @staticmethod
    def _zero(tensor):
        return int(tensor.op.inputs[2].op.attrs["value"])

    def _pick(self, rank=4):
        """A quantised tensor of that rank, recent ones more often; it is no output any more."""
        known = [tensor for tensor in self.held if tensor.shape.rank == rank]
        if not known:
            return None
        tensor = known[-int(min(self.rng.geometric(0.4), len(known)))]
        if self.rng.integers(8):
            self.open.pop(tensor, None)
        return tensor

    def _weights(self, *shape, axis=-1):
        codes = self.rng.integers(-127, 128, shape).astype(np.int8)
        several = shape[axis] if self.rng.integers(4) else 1
        scale = self.rng.uniform(0.004, 0.012, several).astype(np.float32)
        return st.dequantize_linear(codes, scale if several > 1 else scale[0], axis=axis)

    def _bias(self, y, spread):
        if self.rng.integers(3) == 0:
            return y
        bias = self.rng.normal(scale=spread, size=y.shape.dims[-1]).astype(np.float32)
        return st.nn.bias_add(y, bias) if self.rng.integers(2) else y + bias

    def _clamp(self, y):
        return (lambda v: v, st.nn.relu, st.nn.relu6)[self.rng.integers(3)](y)

    def _window(self, x, most):
        sides = [int(self.rng.integers(1, min(most, side) + 1)) for side in x.shape.dims[1:3]]
        return sides, [int(step) for step in self.rng.integers(1, 3, 2)]

    # --- ops -------------------------------------------------------------------------------------

    def _convolve(self):
        x = self._pick()
        if x is None:
            return None
        kernel, strides = self._window(x, 5)
        padding = ("SAME", "VALID")[self.rng.integers(2)]
        dilations = (1, 1) if self.rng.integers(3) else (2, 1)
        if padding == "VALID" and (kernel[0] - 1) * dilations[0] >= x.shape.dims[1]:
            return None
        w = self._weights(*kernel, x.shape.dims[3], int(self.rng.choice(DEPTHS)))
        y = st.nn.conv2d(x, w, strides, padding, dilations=dilations)
        size = self._scale(x) * 0.008 * 60 * np.sqrt(np.prod(w.shape.dims[:3]))
        return self._close(self._clamp(self._bias(y, size * 20)), size)

    def _depthwise(self):
        x = self._pick()
        if x is None:
            return None
        kernel, strides = self._window(x, 3)
        several = 1 if self.rng.integers(5) else 2
        w = self._weights(*kernel, x.shape.dims[3], several, axis=2)
        padding = ("SAME", "VALID")[self.rng.integers(2)]
        y = st.nn.depthwise_conv2d(x, w, (1, strides[0], strides[0], 1), padding)
        size = self._scale(x) * 0.008 * 60 * np.sqrt(np.prod(kernel))
        return self._close(self._clamp(self._bias(y, size * 20)), size)

    def _transpose(self):
        x = self._pick()
        if x is None:
            return None
        kernel, strides = self.rng.integers(1, 5, 2).tolist(), self.rng.integers(1, 4, 2).tolist()
        padding = ("SAME", "VALID")[self.rng.integers(2)]
        sides = [
            side * step if padding == "SAME" else (side - 1) * step + size
            for side, step, size in zip(x.shape.dims[1:3], strides, kernel, strict=True)
        ]
        cout = int(self.rng.choice(DEPTHS))
        w = self._weights(*kernel, cout, x.shape.dims[3], axis=2)
        y = st.nn.conv2d_transpose(x, w, [x.shape.dims[0], *sides, cout], strides, padding)
        size = self._scale(x) * 0.008 * 60 * np.sqrt(np.prod(kernel) * x.shape.dims[3])
        return self._close(self._clamp(self._bias(y, size * 20)), size)

    def _pool(self):
        x = self._pick()
        if x is None:
            return None
        kernel, strides = self._window(x, 3)
        if self.rng.integers(2):
            y = st.nn.max_pool(x, kernel, strides, ("SAME", "VALID")[self.rng.integers(2)])
            return self._pair(y, np.float32(self._scale(x)), self._zero(x))
        padding = ("SAME", "VALID")[self.rng.integers(2)]
        return self._close(st.nn.avg_pool(x, kernel, strides, padding), self._scale(x))

    def _mean(self):
        x = self._pick()
        if x is None or self.rng.integers(2):
            return None
        y = st.reduce_mean(x, [1, 2], keepdims=bool(self.rng.integers(2)))
        return self._close(y, self._scale(x))

    def _add(self):
        a = self._pick(4 if self.rng.integers(4) else 2)
        if a is None:
            return None
        others = [tensor for tensor in self.held if tensor.shape == a.shape and tensor is not a]
        if not others:
            return None
        b = others[self.rng.integers(len(others))]
        self.open.pop(b, None)
        scale = self._scale(a) + self._scale(b)
        if max(self._scale(a), self._scale(b)) / scale < 2**-6:
            return None
        return self._close(self._clamp(a + b), scale)

    def _concat(self):
        a = self._pick(4 if self.rng.integers(4) else 2)
        if a is None:
            return None
        others = [tensor for tensor in self.held if tensor.shape.dims[:-1] == a.shape.dims[:-1]]
        parts = [a, *(others[i] for i in self.rng.integers(0, len(others), 2))]
        joined = st.concat(parts[: int(self.rng.integers(2, 4))], a.shape.rank - 1)
        if self.rng.integers(2):
            return self._pair(joined, np.float32(self._scale(a)), self._zero(a))
        return self._close(joined, self._scale(a))

    def _map(self):
        x = self._pick(4 if self.rng.integers(4) else 2)
        if x is None:
            return None
        name = list(MAPS)[self.rng.integers(len(MAPS))]
        return self._close(MAPS[name](x, self.rng), 0.02)

    def _multiply(self):
        """Of two tensors, value by value: both at zero point 0."""
        a = self._pick(int(self.rng.choice([2, 3, 4])))
        if a is None:
            return None
        a = self._close(st.tanh(a), 0.008, 0)
        self.held.append(a)
        others = [x for x in self.held if x.shape == a.shape and self._zero(x) == 0]
        b = others[self.rng.integers(len(others))]
        self.open.pop(b, None)
        return self._close(a * b, self._scale(a) * self._scale(b) * 60)

    def _product(self):
        """Of two tensors, matrix by matrix; rows of images are matrices."""
        a = self._pick(int(self.rng.choice([2, 3])))
        if a is None:
            image = self._pick()
            if image is None:
                return None
            n, h, w, c = image.shape.dims
            rows = st.nn.max_pool(image, (h, 1), (1, 1), "VALID")
            scale, zero = np.float32(self._scale(image)), self._zero(image)
            rows = st.reshape(self._pair(rows, scale, zero), [n, w, c])
            return self._pair(rows, scale, zero)
        if a.shape.rank == 3 and self.rng.integers(2):  # some of its rows
            first = int(self.rng.integers(a.shape.dims[1]))
            last = int(self.rng.integers(first, a.shape.dims[1]))
            scale, zero = np.float32(self._scale(a)), self._zero(a)
            a = self._pair(
                a[:, first : last + 1] if last > first else a[:, first : first + 1], scale, zero
            )
        last = a.shape.dims[-1]
        lead = a.shape.dims[:-2]
        known = [x for x in self.held if x.shape.rank == a.shape.rank and x.shape.dims[:-2] == lead]
        fits = [(x, True) for x in known if x.shape.dims[-1] == last]
        fits += [(x, False) for x in known if x.shape.dims[-2] == last]
        fits = fits or [(a, True)]
        b, turned = fits[self.rng.integers(len(fits))]
        self.open.pop(b, None)
        if turned and self.rng.integers(2):
            y = st.matmul(a, st.matrix_transpose(b))
        else:
            y = st.matmul(a, b, transpose_b=turned)
        size = self._scale(a) * self._scale(b) * 3000 * np.sqrt(last)
        return self._close(self._clamp(y), size)

    def _flatten(self):
        x = self._pick()
        if x is None or self.rng.integers(2):
            return None
        flat = st.reshape(x, [x.shape.dims[0], -1])
        return self._dense(flat, x)

    def _matmul(self):
        x = self._pick(2)
        return None if x is None else self._dense(x, x)

    def _dense(self, flat, x):
        depth = flat.shape.dims[1]
        y = st.matmul(flat, self._weights(depth, int(self.rng.choice(DEPTHS))))
        size = self._scale(x) * 0.008 * 60 * np.sqrt(depth)
        return self._close(self._clamp(self._bias(y, size * 20)), size)
