"""Any specification that validation accepts computes what the oracle computes."""

from __future__ import annotations

import dataclasses

import numpy as np
from dsp_cases import cases
from earmark_dsp import reference
from earmark_dsp.errors import EarmarkError
from earmark_dsp.mel import band_norm
from earmark_dsp.native import FrontEnd, extract
from earmark_dsp.spec import Dct, LogCompression, PcenCompression, load_spec, parse_spec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

BASE = load_spec("logmel-64-20ms")
SIGNALS = ("white_noise", "clipped_speech", "square_full_scale", "chirp_up")

# In units of what the rounding of 16-bit PCM leaves in a band: below it lies nothing to agree on.
ROUNDING_POWER, ROUNDING_MAGNITUDE = 1e-7, 1e-3
LOG = st.builds(
    LogCompression,
    offset=st.floats(1.0, 1e4),
    floor=st.one_of(st.just(0.0), st.floats(1.0, 1e4)),
    unit=st.sampled_from(["natural", "decibel"]),
)
PCEN = st.builds(
    PcenCompression,
    smoothing=st.floats(0.01, 0.5),
    gain=st.floats(0.0, 1.0),
    bias=st.floats(0.5, 10.0),
    root=st.floats(0.2, 1.0),
    epsilon=st.floats(1e-6, 1e-2),
)


@st.composite
def specs(draw):
    fft_log2 = draw(st.integers(6, 11))
    window_length = draw(st.integers(2 ** (fft_log2 - 1), 2**fft_log2))
    compression = draw(st.one_of(LOG, PCEN))
    n_mels = draw(st.integers(4, 80))
    with_dct = isinstance(compression, LogCompression) and draw(st.booleans())
    fmin_hz = draw(st.floats(0.0, 500.0))
    try:
        spec = dataclasses.replace(
            BASE,
            fft_length=2**fft_log2,
            window_length=window_length,
            hop_length=draw(st.integers(max(1, window_length // 4), window_length)),
            window=draw(st.sampled_from(["hann", "hamming", "rectangular"])),
            preemphasis=draw(st.sampled_from([0.0, 0.5, 0.97])),
            spectrum=draw(st.sampled_from(["power", "magnitude"])),
            n_mels=n_mels,
            fmin_hz=fmin_hz,
            fmax_hz=draw(st.floats(fmin_hz + 1000.0, 8000.0)),
            mel_scale=draw(st.sampled_from(["htk", "slaney"])),
            mel_interpolation=draw(st.sampled_from(["hertz", "mel"])),
            mel_norm=draw(st.sampled_from(["none", "slaney"])),
            compression=compression,
            dct=Dct(draw(st.integers(1, n_mels)), draw(st.sampled_from([0, 22])))
            if with_dct
            else None,
        )
    except EarmarkError:
        assume(condition=False)
    if isinstance(compression, LogCompression):
        rounding = ROUNDING_POWER if spec.spectrum == "power" else ROUNDING_MAGNITUDE
        unit = rounding * float(band_norm(spec).max())
        compression = dataclasses.replace(
            compression, offset=compression.offset * unit, floor=compression.floor * unit
        )
        spec = dataclasses.replace(spec, compression=compression)
    values = np.concatenate(
        [reference.features(spec, cases()[name] / 32768).ravel() for name in SIGNALS]
    )
    # As a converter would: the range of the data over 256 steps.
    smallest = 2.0**-12 if isinstance(compression, LogCompression) else 2.0**-20
    span = float(values.max() - values.min())
    scale = float(np.float32(max(span / 255, smallest)))
    zero_point = int(np.clip(round(-128 - values.min() / scale), -128, 127))
    return dataclasses.replace(spec, output_scale=scale, output_zero_point=zero_point)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    deadline=None,
    derandomize=True,
)
@given(spec=specs())
def test_any_valid_specification_agrees_with_the_oracle(spec):
    assert parse_spec(spec.to_toml(), origin="round trip") == spec
    assert FrontEnd(spec).state_bytes > 0
    for name in SIGNALS:
        pcm = cases()[name]
        difference = np.abs(extract(spec, pcm).astype(int) - reference.quantized(spec, pcm))
        assert difference.max(initial=0) <= 2, name
