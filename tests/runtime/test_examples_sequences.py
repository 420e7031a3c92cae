"""The examples of sequences learn, in a short run: well above what guessing would give."""

from examples import ctc_sequences, date_formats, image_captions, smart_reply


def test_dates_are_translated() -> None:
    """Attention and beam search; guessing gives no date at all."""
    share, shown = date_formats.train_and_test(steps=200)
    assert share > 0.9 and len(shown) == 5


def test_replies_fit() -> None:
    """The trigger answers on the TPU; guessing tells half apart and finds one reply in seven at
    best."""
    told, right, _ = smart_reply.train_and_test(steps=120, device="tpu:0")
    assert told > 0.95 and right > 0.8


def test_symbols_are_read_without_alignment() -> None:
    """CTC: under half the errors of guessing, by both decoders."""
    greedy, beam, chance = ctc_sequences.train_and_test(steps=120)
    assert max(greedy, beam) < 0.35 < 0.7 < chance


def test_captions_say_what_is_drawn() -> None:
    """The convnet answers on the TPU; guessing gives one caption in 32."""
    share, _ = image_captions.train_and_test(steps=160, device="tpu:0")
    assert share > 0.15
