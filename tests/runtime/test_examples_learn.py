"""Each example learns, in a short run: well above what guessing or a simple rule would give."""

from examples import autoencoder, char_rnn, deep_convnet, lstm_language_model, word2vec


def test_deep_convnet_reads_digits() -> None:
    """Convolutions, pooling, batch normalisation, dropout, queues."""
    assert deep_convnet.train_and_test(steps=100) > 0.93


def test_autoencoder_beats_principal_components() -> None:
    """A code that is not linear does better than the best linear one."""
    error, linear = autoencoder.train_and_test(steps=300)
    assert error < linear


def test_word2vec_finds_groups() -> None:
    """The nearest noun is of the same kind; guessing gives 30 %."""
    share, _ = word2vec.train_and_test(steps=900)
    assert share > 0.85


def test_lstm_language_model_predicts() -> None:
    """Far less perplexed than by word frequencies; the grammar's own perplexity is about 1.8."""
    model, plain = lstm_language_model.train_and_test(steps=60)
    assert model < 3.5 < 10 < plain


def test_char_rnn_learns_letters() -> None:
    """Under half the bits of a uniform guess (over 4.9), and writes on from a checkpoint."""
    bits, text = char_rnn.train_and_write(steps=150, length=20)
    assert bits < 2.4 and text.startswith("Tyger Tyge") and len(text) == 70
