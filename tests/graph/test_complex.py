"""Complex numbers and Fourier transforms against NumPy, gradients by differences in both parts."""

from typing import Any

import numpy as np
import pytest

import systolica as st

RNG = np.random.default_rng(8)
Z = RNG.standard_normal((2, 3, 4)) + 1j * RNG.standard_normal((2, 3, 4))
W = RNG.standard_normal((2, 3, 4)) + 1j * RNG.standard_normal((2, 3, 4))
R = RNG.standard_normal((3, 4))


def run(make: Any) -> Any:
    with st.Graph().as_default(), st.Session() as session:
        return session.run(make())


REFERENCES: list[tuple[str, Any, Any]] = [
    ("complex", lambda: st.complex(R, 2 * R), R + 2j * R),
    ("real", lambda: st.real(Z), Z.real),
    ("real of real", lambda: st.real(st.constant(R)), R),
    ("imag", lambda: st.imag(Z), Z.imag),
    ("imag of real", lambda: st.imag(st.constant(R)), 0 * R),
    ("conj", lambda: st.conj(Z), Z.conj()),
    ("angle", lambda: st.angle(Z), np.angle(Z)),
    ("abs", lambda: st.abs(Z), np.abs(Z)),
    ("complex_abs", lambda: st.complex_abs(Z), np.abs(Z)),
    ("mul", lambda: st.multiply(Z, W), Z * W),
    ("div", lambda: st.div(Z, W), Z / W),
    ("matmul", lambda: st.matmul(Z, W, transpose_b=True), Z @ W.swapaxes(-1, -2)),
    ("exp", lambda: st.exp(Z), np.exp(Z)),
    ("log", lambda: st.log(Z), np.log(Z)),
    ("sqrt", lambda: st.sqrt(Z), np.sqrt(Z)),
    ("cast", lambda: st.cast(Z, st.float64), Z.real),
    ("fft", lambda: st.fft(Z), np.fft.fft(Z)),
    ("ifft", lambda: st.ifft(Z), np.fft.ifft(Z)),
    ("fft2d", lambda: st.fft2d(Z), np.fft.fft2(Z)),
    ("ifft2d", lambda: st.ifft2d(Z), np.fft.ifft2(Z)),
    ("fft3d", lambda: st.fft3d(Z), np.fft.fftn(Z)),
    ("ifft3d", lambda: st.ifft3d(Z), np.fft.ifftn(Z)),
    ("fft of real", lambda: st.fft(st.constant(R)), np.fft.fft(R)),
    ("batch_fft", lambda: st.batch_fft(Z), np.fft.fft(Z)),
    ("batch_fft2d", lambda: st.batch_fft2d(Z), np.fft.fft2(Z)),
    ("batch_fft3d", lambda: st.batch_fft3d(Z), np.fft.fftn(Z)),
    ("batch_ifft", lambda: st.batch_ifft(Z), np.fft.ifft(Z)),
    ("batch_ifft2d", lambda: st.batch_ifft2d(Z), np.fft.ifft2(Z)),
    ("batch_ifft3d", lambda: st.batch_ifft3d(Z), np.fft.ifftn(Z)),
]


@pytest.mark.parametrize(("name", "make", "want"), REFERENCES, ids=[r[0] for r in REFERENCES])
def test_against_numpy(name: str, make: Any, want: Any) -> None:
    """Values, and the dtype: complex64 of float32, complex128 of float64."""
    value = run(make)
    assert value.dtype == np.asarray(want).dtype
    np.testing.assert_allclose(value, want, rtol=1e-12, atol=1e-12)


def test_complex64_stays_complex64() -> None:
    """A kernel that widens would double the memory of every tensor behind it."""
    z = Z.astype(np.complex64)
    for make in (st.fft, st.ifft2d, st.exp, st.square, st.conj):
        assert run(lambda make=make: make(z)).dtype == np.complex64
    assert run(lambda: st.abs(z)).dtype == np.float32
    assert run(lambda: st.complex(np.float32(1), np.float32(2))).dtype == np.complex64


FUNCTIONS: dict[str, Any] = {
    "abs": lambda z, w: st.abs(z),
    "add": lambda z, w: z + w[0],
    "mul": lambda z, w: z * w,
    "div": lambda z, w: z / w,
    "square": lambda z, w: st.square(z),
    "pow": lambda z, w: z**w,
    "reciprocal": lambda z, w: st.reciprocal(z),
    "rsqrt": lambda z, w: st.rsqrt(z),
    "sqrt": lambda z, w: st.sqrt(z),
    "exp": lambda z, w: st.exp(z),
    "log": lambda z, w: st.log(z),
    "log1p": lambda z, w: st.log1p(z),
    "sin": lambda z, w: st.sin(z),
    "cos": lambda z, w: st.cos(z),
    "conj": lambda z, w: st.conj(z),
    "real": lambda z, w: st.real(z),
    "imag": lambda z, w: st.imag(z),
    "squared_difference": lambda z, w: st.squared_difference(z, w),
    "reduce_sum": lambda z, w: st.reduce_sum(z, 1),
    "matmul": lambda z, w: st.matmul(z, w, transpose_a=True),
    "matmul b": lambda z, w: st.matmul(z, w, transpose_b=True),
    "complex": lambda z, w: st.complex(st.real(z), st.imag(w)),
    "cast": lambda z, w: st.cast(z, st.float64),
    "cast to": lambda z, w: st.cast(st.real(z), st.complex128),
    "fft": lambda z, w: st.fft(z),
    "ifft": lambda z, w: st.ifft(z),
    "fft2d": lambda z, w: st.fft2d(z),
    "ifft3d": lambda z, w: st.ifft3d(z),
}


@pytest.mark.parametrize("name", list(FUNCTIONS))
@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
def test_gradient_in_both_parts(name: str, static: bool) -> None:
    """The gradient of a real loss is its derivative by the real part plus i times that by the
    imaginary part: a step against it goes downhill."""
    rng = np.random.default_rng(3)
    values = [rng.standard_normal((2, 3, 2)) + 1j * rng.standard_normal((2, 3, 2)) for _ in "zw"]
    with st.Graph().as_default(), st.Session() as session:
        shape = (2, 3, 2) if static else (None, None, None)
        z, w = (st.placeholder(st.complex128, shape) for _ in range(2))
        out = FUNCTIONS[name](z, w)
        weights = rng.standard_normal(session.run(out, {z: values[0], w: values[1]}).shape)
        if out.dtype.is_complex:
            loss = st.reduce_sum(st.real(out) * weights + st.imag(out) * weights[::-1])
        else:
            loss = st.reduce_sum(out * weights)
        feeds = {z: values[0], w: values[1]}
        found = st.gradients(loss, [z, w], unconnected_gradients="zero")
        got = session.run(found, feeds)
        evaluate = session.make_callable(loss, [z, w])
        for position in range(2):
            want = np.zeros((2, 3, 2), np.complex128)
            for at in np.ndindex(2, 3, 2):
                for unit in (1, 1j):
                    sides = []
                    for step in (1e-6, -1e-6):
                        moved = [v.copy() for v in values]
                        moved[position][at] += step * unit
                        sides.append(evaluate(*moved))
                    want[at] += unit * (sides[0] - sides[1]) / 2e-6
            np.testing.assert_allclose(got[position], want, rtol=2e-5, atol=1e-6)


def test_optimiser_finds_a_complex_root() -> None:
    """Gradient descent on |z**2 + 1|**2 ends at i or -i."""
    with st.Graph().as_default(), st.Session() as session:
        z = st.Variable(np.complex64(0.3 + 0.4j))
        loss = st.square(st.abs(z * z + np.complex64(1)))
        (grad,) = st.gradients(loss, [z])
        step = z.assign_sub(grad * np.complex64(0.05))
        session.run(st.global_variables_initializer())
        for _ in range(200):
            session.run(step)
        assert abs(session.run(z)) == pytest.approx(1, abs=1e-3)
        assert session.run(st.real(z)) == pytest.approx(0, abs=1e-3)


def test_errors_name_the_dtype() -> None:
    """Real numbers have no parts to take an angle of; half types make no complex ones."""
    with st.Graph().as_default():
        with pytest.raises(st.errors.InvalidArgumentError, match="complex numbers are needed"):
            st.angle(st.constant(1.0))
        with pytest.raises(st.errors.InvalidArgumentError, match="float32 or float64"):
            st.complex(np.float16(1), np.float16(1))
        with pytest.raises(st.errors.ShapeError, match="2 axes"):
            st.fft2d(st.constant([1.0, 2.0]))
