"""`st.contrib`: layers and losses of 2016, recurrent cells, sequence to sequence."""

from sw.graph import rnn
from sw.graph.contrib import layers, losses, seq2seq

__all__ = ["layers", "losses", "rnn", "seq2seq"]
