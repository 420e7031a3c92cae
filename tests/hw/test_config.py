"""Configurations: breaks if a core that cannot be built, or one misspelt, gets through."""

import pytest

from hw.tpu.config import PRESETS, ConfigError, TpuConfig


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("huge", "unknown preset 'huge'; presets: tiny"),
        ("default,arrray=8", "arrray=8.*array"),
        ("default,array=8.5", "no whole number"),
        ("default,array=12", "array=12: must be a power of two"),
        ("default,array=512", "from 2 to 256"),
        ("default,bus_bits=32", "64 to 512"),
        ("default,burst_beats=512", "512"),
        ("default,burst_beats=2,outstanding_bursts=1", "at least 4 beats"),
        ("default,scratchpad_rows=100", "scratchpad_rows=100"),
        ("default,queue_depth=0", "queue_depth=0: must be a positive"),
    ],
)
def test_impossible_sizes_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        TpuConfig.parse(text)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_a_round_trip(name):
    config = PRESETS[name]
    assert TpuConfig.from_dict(config.to_dict()) == config
    assert TpuConfig.parse(f"{name},queue_depth=7").fingerprint != config.fingerprint


def test_the_fingerprint_is_of_sizes_not_of_names():
    assert TpuConfig.parse("default,array=16").fingerprint == PRESETS["default"].fingerprint
