"""`st.contrib.seq2seq`: attention, decoders and their helpers."""

# ruff: noqa: F401 (a face only passes names on)

from sw.graph.rnn.attention import (
    AttentionWrapper,
    AttentionWrapperState,
    BahdanauAttention,
    LuongAttention,
    tile_batch,
)
from sw.graph.rnn.beam import (
    BeamSearchDecoder,
)
from sw.graph.rnn.decoding import (
    BasicDecoder,
    BasicDecoderOutput,
    Decoder,
    GreedyEmbeddingHelper,
    Helper,
    SampleEmbeddingHelper,
    TrainingHelper,
    dynamic_decode,
)
