"""Neural style: a picture that has one image's content and another's texture (Gatys et al., 2015).

    python examples/neural_style.py [--steps 150] [--output DIR]

Content (a disc on a slope) and style (wavy stripes) are drawn here. Features come from a net of
random, orthogonal filters, which serve for textures as trained ones do (He et al., 2016). The
picture itself is the variable that is trained; with `--output` the three images are written as PNG.
Prints how far the picture's texture came towards the style's and how much of the content stayed.
"""

import argparse
import os

import numpy as np

import systolica as st

SIDE = 32


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """(content, style): float32 [1, 32, 32, 3] in [0, 1]."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    disc = np.hypot(x - 0.5, y - 0.45) < 0.28
    content = np.stack([0.3 + 0.4 * y, 0.5 - 0.2 * y, 0.6 - 0.1 * x], 2)
    content[disc] = (0.9, 0.8, 0.3)
    waves = np.sin(24 * (x + 0.15 * np.sin(9 * y)))
    style = np.stack([0.5 + 0.4 * waves, 0.4 - 0.3 * waves, 0.5 + 0.3 * np.cos(20 * y)], 2)
    return content[None].astype(np.float32), np.clip(style, 0, 1)[None].astype(np.float32)


class Features:
    """Three layers of fixed random filters, each at half the size of the one before."""

    def __init__(self, widths: tuple[int, ...] = (24, 32, 48)) -> None:
        rng = np.random.default_rng(4)
        self.filters, depth = [], 3
        for width in widths:
            square = np.linalg.qr(rng.standard_normal((max(9 * depth, width),) * 2))[0]
            kernel = 1.6 * square[: 9 * depth, :width].reshape(3, 3, depth, width)
            self.filters.append(st.constant(kernel.astype(np.float32)))
            depth = width

    def __call__(self, image: st.Tensor) -> list[st.Tensor]:
        """The features of an image at each layer."""
        h, out = image * 2 - 1, []
        for kernel in self.filters:
            h = st.nn.relu(st.nn.conv2d(h, kernel, [1, 1, 1, 1], "SAME"))
            out.append(h)
            h = st.nn.avg_pool(h, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
        return out


def gram(features: st.Tensor) -> st.Tensor:
    """Which features occur together, wherever: the texture."""
    flat = st.reshape(features, [-1, features.shape[3]])
    return st.matmul(flat, flat, transpose_a=True) / st.cast(st.shape(flat)[0], st.float32)


def squared(a: list[st.Tensor], b: list[st.Tensor]) -> st.Tensor:
    """The mean squared difference, each layer relative to the second's size."""
    terms = [
        st.reduce_mean(st.squared_difference(p, q)) / st.reduce_mean(st.square(q))
        for p, q in zip(a, b, strict=True)
    ]
    return st.add_n(terms) / len(terms)


def paint(steps: int = 150, output: str | None = None) -> tuple[float, float, float]:
    """(texture's distance to the style, as a share of that at the start; content's distance; that
    of the style image)."""
    content, style = drawn()
    with st.Graph().as_default():
        features = Features()
        picture = st.Variable(content, name="picture")
        of_picture, of_content, of_style = map(features, (picture, content, style))
        textures = [[gram(f) for f in of] for of in (of_picture, of_style)]
        texture_loss = squared(*textures)
        content_loss = squared(of_picture[2:], of_content[2:])
        smooth = st.reduce_sum(st.image.total_variation(picture)) / content.size
        loss = texture_loss + 0.3 * content_loss + 0.1 * smooth
        step = st.train.get_or_create_global_step()
        rate = st.train.cosine_decay(0.05, step, steps)
        train = st.train.AdamOptimizer(rate).minimize(loss, step)
        with st.control_dependencies([train]):
            train = picture.assign(st.clip_by_value(picture.read_value(), 0.0, 1.0))
        with st.Session() as sess:
            sess.run(st.global_variables_initializer())
            start = sess.run(texture_loss)
            for _ in range(steps):
                sess.run(train)
            end, kept, image = sess.run([texture_loss, content_loss, picture])
            other = sess.run(content_loss, {of_picture[2]: sess.run(of_style[2])})
    if output is not None:
        from matplotlib import image as files  # only who wants files needs it

        os.makedirs(output, exist_ok=True)
        for name, pixels in (("content", content), ("style", style), ("picture", image)):
            large = np.kron(pixels[0], np.ones((8, 8, 1)))
            files.imsave(os.path.join(output, f"{name}.png"), large)
    return float(end / start), float(kept), float(other)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=150, help="training steps (150)")
    parser.add_argument("--output", help="a folder for the three images")
    given = parser.parse_args()
    texture, kept, other = paint(given.steps, given.output)
    print(
        f"texture: {texture:.1%} of the way is left; content: {kept:.3f} off, the style {other:.3f}"
    )


if __name__ == "__main__":
    main()
