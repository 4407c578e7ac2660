"""The specification: what it accepts, what it refuses and how, and what its hash depends on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from earmark_dsp import codegen
from earmark_dsp.errors import EarmarkError
from earmark_dsp.spec import Dct, LogCompression, list_specs, load_spec, parse_spec

SHIPPED = ("logmel-40-10ms", "logmel-64-20ms", "mfcc-13", "pcen-64-20ms", "yamnet-64")


def test_all_named_front_ends_ship():
    assert set(SHIPPED) <= set(list_specs())
    hashes = {load_spec(name).hash_hex for name in SHIPPED}
    assert len(hashes) == len(SHIPPED)
    assert all(len(value) == 16 and int(value, 16) >= 0 for value in hashes)


@pytest.mark.parametrize("name", SHIPPED)
def test_toml_round_trip(name):
    spec = load_spec(name)
    again = parse_spec(spec.to_toml(), origin="written")
    assert again == spec
    assert again.hash_hex == spec.hash_hex


def test_own_scales_are_short_binary_fractions():
    for name in set(SHIPPED) - {"yamnet-64"}:
        scale = load_spec(name).output_scale
        assert scale * 2**12 == int(scale * 2**12)
        assert np.float32(scale) == scale


def test_hash_ignores_key_order_name_description_and_comments():
    spec = load_spec("pcen-64-20ms")
    text = spec.to_toml()
    head, *tables = text.split("\n\n")
    shuffled = "\n\n".join([head, *reversed(tables)]).replace(
        'name = "pcen-64-20ms"', 'name = "mine" # renamed\n'
    )
    other = parse_spec(shuffled, origin="shuffled")
    assert other.name == "mine"
    assert other.hash_hex == spec.hash_hex


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("logmel-64-20ms", {"sample_rate_hz": 22050}),
        ("logmel-64-20ms", {"hop_length": 256}),
        ("logmel-64-20ms", {"window_length": 400}),
        ("logmel-64-20ms", {"window": "hamming"}),
        ("logmel-64-20ms", {"fft_length": 1024}),
        ("logmel-64-20ms", {"preemphasis": 0.5}),
        ("logmel-64-20ms", {"spectrum": "magnitude"}),
        ("logmel-64-20ms", {"n_mels": 63}),
        ("logmel-64-20ms", {"fmin_hz": 61.0}),
        ("logmel-64-20ms", {"fmax_hz": 7801.0}),
        ("logmel-64-20ms", {"mel_scale": "htk"}),
        ("logmel-64-20ms", {"mel_interpolation": "mel"}),
        ("logmel-64-20ms", {"mel_norm": "slaney"}),
        ("logmel-64-20ms", {"compression": LogCompression(1e-6)}),
        ("logmel-64-20ms", {"compression": LogCompression(1e-7, unit="decibel")}),
        ("logmel-64-20ms", {"context_frames": 51}),
        ("logmel-64-20ms", {"output_scale": 0.125}),
        ("logmel-64-20ms", {"output_zero_point": 24}),
        ("mfcc-13", {"dct": Dct(12, 22)}),
        ("mfcc-13", {"dct": Dct(13, 21)}),
    ],
)
def test_hash_depends_on_every_value(name, change):
    spec = load_spec(name)
    assert dataclasses.replace(spec, **change).hash_hex != spec.hash_hex


def test_hash_tells_compressions_apart():
    pcen = load_spec("pcen-64-20ms")
    for field in dataclasses.fields(pcen.compression):
        part = dataclasses.replace(
            pcen.compression, **{field.name: getattr(pcen.compression, field.name) * 0.5}
        )
        assert dataclasses.replace(pcen, compression=part).hash_hex != pcen.hash_hex


def test_the_hash_is_inside_the_generated_c(tmp_path):
    spec = load_spec("pcen-64-20ms")
    source, header = codegen.generate(spec, tmp_path)
    assert f'#define EM_FRONTEND_HASH_HEX "{spec.hash_hex}"' in header.read_text()
    assert ".hash_hex = EM_FRONTEND_HASH_HEX" in source.read_text()


@pytest.mark.parametrize(
    ("change", "reason", "nearest"),
    [
        ({"fmax_hz": 8001.0}, "Nyquist", "8000.0"),
        ({"fmin_hz": -1.0}, "negative", "0.0"),
        ({"fmin_hz": 7900.0}, "not below fmax_hz", "nearest valid value"),
        ({"fft_length": 500}, "power of two", "512"),
        ({"fft_length": 4096}, "power of two from 64 to 2048", "2048"),
        ({"fft_length": 256}, "shorter than the window", "512"),
        ({"hop_length": 513}, "never be heard", "512"),
        ({"hop_length": 0}, "not positive", "1"),
        ({"preemphasis": 1.0}, "[0, 1)", "0.99"),
        ({"n_mels": 300}, "contains no FFT bin", "189"),
        ({"window": "kaiser"}, "not known", "hann"),
        ({"output_scale": 0.1}, "float32", "0.10000000149011612"),
        ({"output_scale": -1.0}, "output.scale", "0.000244"),
        ({"compression": LogCompression(1e6)}, "compression.offset", "10000"),
        ({"output_zero_point": 128}, "-128..127", "127"),
        ({"compression": LogCompression(0.0)}, "undefined", "1e-07"),
        ({"compression": LogCompression(float("nan"))}, "finite", "finite"),
        ({"dct": Dct(65)}, "1..64", "64"),
        ({"fft_length": 2048, "n_mels": 3}, "spans", "more bands"),
    ],
)
def test_impossible_values_are_refused_with_reason_and_nearest_value(change, reason, nearest):
    with pytest.raises(EarmarkError) as caught:
        dataclasses.replace(load_spec("logmel-64-20ms"), **change)
    assert reason in caught.value.what
    assert nearest in caught.value.hint


def test_the_nearest_number_of_bands_is_valid_and_the_largest():
    spec = load_spec("logmel-64-20ms")
    with pytest.raises(EarmarkError) as caught:
        dataclasses.replace(spec, n_mels=250)
    nearest = int(caught.value.hint.split(":")[1].split(";")[0])
    assert dataclasses.replace(spec, n_mels=nearest).n_mels == nearest
    with pytest.raises(EarmarkError):
        dataclasses.replace(spec, n_mels=nearest + 1)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (("n_mels = 64", "n_mels = 64.5"), "mel.n_mels: 64.5 is not of type int"),
        (("n_mels = 64", "n_mels = true"), "mel.n_mels: True is not of type int"),
        (("n_mels = 64", "bands = 64"), "unknown key 'bands'"),
        (("n_mels = 64", ""), "mel.n_mels is missing"),
        (("[mel]", "[mell]"), "unknown table [mell]"),
        (('kind = "log"', 'kind = "cube root"'), "compression.kind"),
        (("[output]", "[output"), "not valid TOML"),
    ],
)
def test_bad_files_name_the_file_and_the_key(tmp_path, edit, reason):
    path = tmp_path / "mine.toml"
    text = load_spec("logmel-64-20ms").to_toml()
    assert edit[0] in text
    path.write_text(text.replace(*edit, 1))
    with pytest.raises(EarmarkError) as caught:
        load_spec(path)
    assert "mine.toml" in caught.value.what
    assert reason in caught.value.what


def test_the_nearest_fmin_is_valid():
    spec = load_spec("logmel-64-20ms")
    with pytest.raises(EarmarkError) as caught:
        dataclasses.replace(spec, fmin_hz=7900.0)
    fmin_hz = float(caught.value.hint.split(":")[1])
    assert dataclasses.replace(spec, fmin_hz=fmin_hz).fmin_hz == fmin_hz


def test_unknown_names_list_the_known_ones():
    with pytest.raises(EarmarkError) as caught:
        load_spec("logmel-65")
    assert "logmel-64-20ms" in caught.value.hint
    with pytest.raises(EarmarkError, match="cannot read"):
        load_spec("missing.toml")


def test_yamnet_output_is_the_quantisation_of_the_public_model():
    interpreter_module = pytest.importorskip("ai_edge_litert.interpreter")
    locate = pytest.importorskip("earmark_datasets.locate")
    path = locate.find_model("yamnet_int8.tflite")
    if path is None:
        pytest.skip("the public YAMNet model is not on this machine")
    interpreter = interpreter_module.Interpreter(str(path))
    first = interpreter._get_ops_details()[0]
    assert first["op_name"] == "QUANTIZE"
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    scale, zero_point = tensors[first["outputs"][0]]["quantization"]
    spec = load_spec("yamnet-64")
    assert (spec.output_scale, spec.output_zero_point) == (scale, zero_point)
    assert tuple(tensors[first["inputs"][0]]["shape"]) == (1, spec.context_frames, spec.n_features)
