"""Inference of a trained net where the user asks for it: as it is, or quantised on the TPU."""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

import systolica as st

Feeds = Mapping[st.Tensor, np.ndarray]


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """`--device`, by which an example's inference goes elsewhere."""
    parser.add_argument(
        "--device",
        default="cpu:0",
        help="where the trained net answers: cpu:0, or tpu:0, quantised to int8 (cpu:0)",
    )


@contextlib.contextmanager
def answering(
    session: st.Session, fetch: st.Tensor, calibration: Feeds, device: str = "cpu:0"
) -> Iterator[Callable[[Feeds], np.ndarray]]:
    """A function from feeds to the value of `fetch`. For a TPU the net is quantised, once, with the
    ranges that `calibration` shows, and runs as whole programs."""
    if device.lstrip("/").startswith("cpu"):
        yield lambda feeds: session.run(fetch, feeds)
        return
    name = f"/{device.lstrip('/')}"
    graph = st.quantize(fetch, [calibration], session=session, device=name)
    with st.Session(graph=graph) as quantised:
        yield lambda feeds: quantised.run(fetch.name, {k.name: v for k, v in feeds.items()})


def answers(
    session: st.Session,
    fetch: st.Tensor,
    feeds: Feeds,
    device: str = "cpu:0",
    calibration: Feeds | None = None,
) -> np.ndarray:
    """The value of `fetch`, on a TPU calibrated with `calibration` (default: `feeds`)."""
    with answering(session, fetch, calibration or feeds, device) as answer:
        return answer(feeds)
