"""Model updates: what `earmark pack-model` signs the device accepts, and nothing else."""

from __future__ import annotations

import ctypes as ct
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from earmark_dsp.errors import EarmarkError
from earmark_training.cli import main
from earmark_training.deploy import model_image
from earmark_training.deploy.bundle import rewrite_bundle
from firmware_kit import ROOT
from tools import require_tool

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

import bundle_kit

FIRMWARE = ROOT / "firmware"
OK, ARGUMENT, MISMATCH, FORMAT = 0, 1, 4, 5
BEGIN = ct.CFUNCTYPE(None, ct.c_void_p)
UPDATE = ct.CFUNCTYPE(None, ct.c_void_p, ct.c_void_p, ct.c_size_t)
END = ct.CFUNCTYPE(None, ct.c_void_p, ct.c_void_p)
VERIFY = ct.CFUNCTYPE(ct.c_bool, ct.c_void_p, ct.c_void_p, ct.c_void_p)


class Device:
    """The C of model store, image and boot, with this machine's SHA-256 and ECDSA."""

    def __init__(self, library: ct.CDLL, trusted_point: str) -> None:
        self.library = library
        self.key = ec.EllipticCurvePublicKey.from_encoded_point(
            ec.SECP256R1(), bytes.fromhex(trusted_point)
        )
        self.hash = hashlib.sha256()
        self.callbacks = (
            BEGIN(self._begin), UPDATE(self._update), END(self._end), VERIFY(self._verify)
        )  # fmt: skip
        assert library.probe_open(*self.callbacks) == OK

    def _begin(self, _context):
        self.hash = hashlib.sha256()

    def _update(self, _context, data, n_bytes):
        self.hash.update(ct.string_at(data, n_bytes))

    def _end(self, _context, digest):
        ct.memmove(digest, self.hash.digest(), 32)

    def _verify(self, _context, digest, signature):
        r, s = (int.from_bytes(ct.string_at(signature + at, 32), "big") for at in (0, 32))
        try:
            self.key.verify(
                utils.encode_dss_signature(r, s),
                ct.string_at(digest, 32),
                ec.ECDSA(utils.Prehashed(hashes.SHA256())),
            )
        except (InvalidSignature, ValueError):
            return False
        return True

    def install(self, image: bytes) -> int:
        return self.library.probe_install(image, len(image))

    def boot(self) -> tuple[int, bytes]:
        data, n_bytes = ct.c_void_p(), ct.c_uint32()
        which = self.library.probe_boot(ct.byref(data), ct.byref(n_bytes))
        return which, ct.string_at(data, n_bytes.value) if which == 1 else b""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return bundle_kit.make_bundle(tmp_path_factory.mktemp("update") / "bundle")


@pytest.fixture(scope="module")
def library(bundle, tmp_path_factory):
    """The device whose application carries `bundle`."""
    out = tmp_path_factory.mktemp("probe") / "probe.so"
    components = FIRMWARE / "components"
    names = ("model_store", "ports", "support", "pipeline", "engine", "detector", "nn")
    includes = [*(components / name / "include" for name in names), ROOT / "dsp/c/include"]
    sources = [
        Path(__file__).parent / "model_update_probe.c",
        *(components / "model_store/src").glob("*.c"),
        *(components / "nn/src").glob("*.c"),
        components / "support/src/crc32.c",
        *(FIRMWARE / "host/platform").glob("*.c"),
        *(bundle.c_dir / name for name in ("bundle_info.c", "model.c", "model_weights.c")),
        bundle.c_dir / "model_golden.c",
    ]
    subprocess.run(
        [
            require_tool("cc", "gcc"), "-std=c11", "-O1", "-shared", "-fPIC", "-Wall", "-Werror",
            *(f"-I{path}" for path in (*includes, FIRMWARE / "host/platform", bundle.c_dir)),
            *map(str, sources), "-o", str(out),
        ],
        check=True,
    )  # fmt: skip
    return ct.CDLL(str(out))


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "model.pem"
    model_image.new_key(path)
    return model_image.load_key(path)


@pytest.fixture(scope="module")
def image(bundle, key):
    return model_image.pack(bundle, key)


@pytest.fixture
def device(library, key):
    return Device(library, model_image.public_point(key))


def other_version(bundle, out, version, **changes):
    return rewrite_bundle(bundle, out, bundle_version=version, **changes)


def test_the_device_reads_what_the_bundle_compiles_to(device, bundle, image):
    """Two generators, text and bytes, checked against each other field by field in C."""
    assert device.boot() == (0, b"")
    assert device.install(image) == OK
    assert device.boot() == (1, bundle.tflite)
    assert device.boot() == (1, bundle.tflite), "confirmed by its first boot"


def test_the_comparison_sees_a_difference(device, bundle, key, tmp_path):
    """Negative control of the test above."""
    labels = list(bundle.params.labels)
    labels[0] = type(labels[0])(
        **{field: getattr(labels[0], field) for field in labels[0].__struct_fields__}
        | {"refractory_ms": 4321}
    )
    params = type(bundle.params)(
        labels=tuple(labels),
        hop_frames=bundle.params.hop_frames,
        min_contrast=bundle.params.min_contrast,
        clip_steps=bundle.params.clip_steps,
    )
    changed = rewrite_bundle(bundle, tmp_path / "changed", detector_params=params)
    assert device.install(model_image.pack(changed, key)) == OK
    assert device.boot()[0] == 0


def test_any_changed_byte_is_refused(device, image):
    rng = np.random.default_rng(5)
    positions = {*range(0, model_image.HEADER_BYTES, 5), *rng.integers(0, len(image), 40).tolist()}
    for at in positions:
        damaged = bytearray(image)
        damaged[at] ^= 1 << int(rng.integers(8))
        assert device.install(bytes(damaged)) != OK, at
    for n_bytes in (0, 1, 127, 128, 129, len(image) // 2, len(image) - 1):
        assert device.install(image[:n_bytes]) != OK, n_bytes
    assert device.boot()[0] == 0
    assert device.install(image) == OK


def test_another_key_is_refused(device, bundle):
    stranger = ec.generate_private_key(ec.SECP256R1())
    assert device.install(model_image.pack(bundle, stranger)) == FORMAT
    assert device.boot()[0] == 0


def test_another_front_end_or_other_labels_are_refused(device, key, tmp_path):
    foreign = bundle_kit.make_bundle(tmp_path / "logmel", spec_name="logmel-64-20ms")
    assert device.install(model_image.pack(foreign, key)) == MISMATCH
    labels = ("co_alarm", "smoke_alarm", "hum", "background")
    swapped = bundle_kit.make_bundle(tmp_path / "swapped", labels=labels)
    assert device.install(model_image.pack(swapped, key)) == MISMATCH
    assert device.boot()[0] == 0


def test_an_older_release_is_refused_although_signed(device, bundle, image, key, tmp_path):
    older = other_version(bundle, tmp_path / "older", "0.9.9")
    assert device.install(model_image.pack(older, key)) == ARGUMENT
    newer = other_version(bundle, tmp_path / "newer", "1.0.1")
    assert device.install(model_image.pack(newer, key)) == OK
    # Its golden vector holds, its version differs from the compiled one: the probe says so.
    assert device.boot()[0] == 0
    assert device.install(image) == OK, "the same release as the application's own"


def test_the_same_bundle_gives_the_same_payload(bundle, image):
    assert image[model_image.HEADER_BYTES :] == model_image.payload(bundle)


def test_a_slot_is_half_of_the_partition():
    table = (FIRMWARE / "partitions.csv").read_text("utf-8")
    n_bytes = int(re.search(r"^model,.*?,\s*0x41,\s*\w+,\s*(0x\w+)", table, re.MULTILINE)[1], 16)
    assert n_bytes // 4096 // 2 * 4096 == model_image.SLOT_BYTES


# Command line ---------------------------------------------------------------------------------


def run(capsys, *arguments):
    try:
        main([*map(str, arguments)])
    except SystemExit as exc:
        return exc.code, capsys.readouterr()
    raise AssertionError("main always exits")


def test_key_and_image_from_the_command_line(bundle, library, tmp_path, capsys):
    key_path, image_path = tmp_path / "model.pem", tmp_path / "model.img"
    status, output = run(capsys, "new-model-key", key_path)
    assert status == 0
    point = re.search(r'CONFIG_EARMARK_MODEL_PUBLIC_KEY="(04[0-9a-f]{128})"', output.out)[1]
    assert key_path.stat().st_mode & 0o777 == 0o600
    status, output = run(capsys, "new-model-key", key_path)
    assert status == 1
    assert "choose another name" in output.err
    status, output = run(capsys, "pack-model", bundle.path, "--key", key_path, "-o", image_path)
    assert status == 0, output.err
    assert bundle.info.model_version in output.out
    assert point in output.out
    device = Device(library, point)
    assert device.install(image_path.read_bytes()) == OK
    assert device.boot()[0] == 1


def test_wrong_keys_are_one_message(bundle, tmp_path, capsys):
    not_a_key = tmp_path / "not.pem"
    not_a_key.write_text("hello")
    p384 = tmp_path / "p384.pem"
    p384.write_bytes(
        ec.generate_private_key(ec.SECP384R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    for path in (not_a_key, p384, tmp_path / "missing.pem"):
        arguments = ("pack-model", bundle.path, "--key", path, "-o", tmp_path / "x.img")
        status, output = run(capsys, *arguments)
        assert status == 1
        assert output.err.startswith("error: ")
        assert path.name in output.err
    assert not (tmp_path / "x.img").exists()


@pytest.mark.parametrize("version", ["1.0", "2026-11", "1.0.1024", "v1.0.0"])
def test_a_version_without_order_is_refused(bundle, key, tmp_path, version):
    odd = other_version(bundle, tmp_path / "odd", version)
    with pytest.raises(EarmarkError, match=r"MAJOR\.MINOR\.PATCH"):
        model_image.pack(odd, key)


def test_an_image_larger_than_a_slot_is_refused(bundle, key, monkeypatch):
    monkeypatch.setattr(model_image, "SLOT_BYTES", 4096)
    with pytest.raises(EarmarkError, match="4,096"):
        model_image.pack(bundle, key)
