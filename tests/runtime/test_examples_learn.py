"""Each example learns, in a short run: well above what guessing or a simple rule would give. Where
the device is a TPU, the trained net answers quantised, on the simulated core."""

from pathlib import Path

from examples import (
    autoencoder,
    char_rnn,
    cifar_convnet,
    deep_convnet,
    deep_q,
    go_policy,
    inception,
    linear_optimizer,
    lstm_language_model,
    neural_style,
    random_forest,
    word2vec,
)
from examples.__main__ import CHECKS


def test_deep_convnet_reads_digits() -> None:
    """Convolutions, pooling, batch normalisation, dropout, queues."""
    assert deep_convnet.train_and_test(steps=100, device="tpu:0") > 0.93


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


def test_cifar_convnet_names_shapes() -> None:
    """Files, readers, augmentation in the pipeline, a monitored session; guessing gives 10 %."""
    assert cifar_convnet.train_and_test(steps=130) > 0.3


def test_inception_reads_digits() -> None:
    """Parallel convolutions, joined; guessing gives 10 %."""
    assert inception.train_and_test(steps=50) > 0.9


def test_deep_q_learns_to_walk() -> None:
    """Replay memory and a slow copy; random steps reach about 20 % of the goals."""
    learned, random = deep_q.train_and_test(steps=500)
    assert learned > 0.45 > 0.3 > random


def test_neural_style_mixes() -> None:
    """The texture comes close to the style's, the content stays."""
    texture, kept, other = neural_style.paint(steps=40)
    assert texture < 0.2 and kept < 0.5 * other


def test_go_policy_beats_random_moves() -> None:
    """From half the games to most, by playing with itself."""
    before, after = go_policy.train_and_test(rounds=6, device="tpu:0")
    assert before < 0.62 and after > 0.68


def test_random_forest_beats_its_trees() -> None:
    """Grown level by level by graph runs; guessing gives 10 %."""
    forest, tree = random_forest.train_and_test(trees=12, depth=7)
    assert forest > 0.82 and forest > tree + 0.1


def test_linear_optimizer_comes_with_a_certificate() -> None:
    """The duality gap falls: no other weights would be much better."""
    accuracy, gaps = linear_optimizer.train_and_test(epochs=8)
    assert accuracy > 0.93 and gaps[-1] < 0.04 < 0.5 < gaps[0]


def test_every_example_is_in_the_full_run() -> None:
    """`make examples` leaves none out."""
    helpers = {"__init__", "__main__", "datasets", "digits_convnet", "inference", "networks"}
    files = {path.stem for path in Path(autoencoder.__file__).parent.glob("*.py")}
    assert set(CHECKS) == files - helpers
