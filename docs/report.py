"""The profile of a network as a page of `docs/`: `python -m docs.report [NAME]`, of `resnet50` if
none is named. It takes about half a minute of a core's time."""

from __future__ import annotations

import sys
from pathlib import Path

import systolica as st
from examples.networks import MODELS, quantised
from sw.runtime.profiling import page

HERE = Path(__file__).parent
TITLES = {
    "resnet50": "ResNet-50 on the TPU",
    "resnet20": "ResNet-20 on the TPU",
    "mobilenet_v1": "MobileNet v1 on the TPU",
    "inception_v1": "Inception v1 on the TPU",
}
TEXT = """# {title}

Made by `python -m docs.report {name}`; do not edit. It quantises the network of
`examples/networks.py` (seeded random weights: cycles do not depend on values), compiles it whole
for the {array} x {array} core with {kib:,.0f} KiB of scratchpad, and runs one image of {size} on
the functional simulator for its values and on the timing model, which equals the RTL cycle for
cycle, for its cycles. Memory gives {bandwidth:g} bytes a cycle with a latency of {latency} cycles.
`systolica profile MODEL.onnx` makes the same of any model, as one HTML page and a Perfetto
timeline.

{body}
A layer's row holds what runs with it in the array's shadow: a residual add belongs to its
convolution. *Bound by*: the resource that is busiest for the layer. *Lost to*: why the array stood
still, as a share of the layer's cycles; *unused array*: rows or columns without work.
"""


def build(name: str, folder: Path) -> Path:
    """Write `NAME.md` and its pictures below `folder`; the page."""
    graph = quantised(name)
    made = st.profile("logits:0", graph=graph, name=name)
    text = TEXT.format(
        title=TITLES[name],
        name=name,
        array=made.config.array,
        kib=made.config.scratchpad_rows * made.config.array / 1024,
        size="x".join(map(str, MODELS[name].shape[1:])),
        bandwidth=made.bytes_per_cycle,
        latency=made.latency,
        body=page.markdown(made, folder / "images", "images"),
    )
    path = folder / f"{name}.md"
    path.write_text(text)
    return path


def main(arguments: list[str]) -> int:
    """Command line."""
    name = arguments[0] if arguments else "resnet50"
    if len(arguments) > 1 or name not in TITLES:
        print(f"usage: python -m docs.report [{'|'.join(TITLES)}]", file=sys.stderr)
        return 2
    print(build(name, HERE))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
