"""Signed model images: a bundle as the device's model slot takes it.

Layout: `firmware/components/model_store/include/earmark/model_store.h` (signed header) and
`model_image.h` (payload). The device verifies the signature before it interprets anything.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_training.deploy import golden
from earmark_training.deploy.tflite import Tensor, parse_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.detector import DetectorParams, LabelParams

MAGIC, PAYLOAD_MAGIC = b"EMB1", b"EMP1"
PAYLOAD_FORMAT = 1
HEADER_BYTES, SIGNED_BYTES = 128, 64
PAYLOAD_HEADER_BYTES = 160
VERSION_BYTES, NAME_BYTES, MAX_LABELS, MAX_RANK = 28, 36, 32, 6
# The slot of partitions.csv: half of 0x1d0000 bytes.
SLOT_BYTES = 0x1D0000 // 2
RELEASE_PATTERN = re.compile(r"em-(\d{1,4})\.(\d{1,4})\.(\d{1,4})\+[0-9a-f]{4}")
RELEASE_PART_MAX = 1023


def new_key(path: Path) -> str:
    """Write a new ECDSA P-256 key as PEM, readable by its owner only.

    Returns
    -------
    str
        The public point as 130 hex digits, for ``CONFIG_EARMARK_MODEL_PUBLIC_KEY``.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError as exc:
        raise EarmarkError(
            f"{path} exists", "devices in the field trust the old key: choose another name"
        ) from exc
    path.write_bytes(pem)
    return public_point(key)


def load_key(path: Path) -> EllipticCurvePrivateKey:
    """Read a P-256 private key in PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as exc:
        raise EarmarkError(
            f"{path} is not an unencrypted private key in PEM", "make one: `earmark new-model-key`"
        ) from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise EarmarkError(f"{path} holds no P-256 key", "make one: `earmark new-model-key`")
    return key


def public_point(key: EllipticCurvePrivateKey) -> str:
    """Return the uncompressed public point: 130 hex digits."""
    from cryptography.hazmat.primitives import serialization

    return (
        key.public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        .hex()
    )


def pack(bundle: Bundle, key: EllipticCurvePrivateKey) -> bytes:
    """Return the signed image of a bundle.

    Raises
    ------
    EarmarkError
        If the version is no MAJOR.MINOR.PATCH, or the image does not fit into a slot.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    version = bundle.info.model_version
    found = RELEASE_PATTERN.fullmatch(version)
    if found is None or max(map(int, found.groups())) > RELEASE_PART_MAX:
        raise EarmarkError(
            f"'{bundle.info.version}' is no release number",
            "a device compares releases: train with a version MAJOR.MINOR.PATCH, each up to "
            f"{RELEASE_PART_MAX}",
        )
    content = payload(bundle)
    if HEADER_BYTES + len(content) > SLOT_BYTES:
        raise EarmarkError(
            f"the image has {HEADER_BYTES + len(content):,} bytes, a slot holds {SLOT_BYTES:,}",
            "choose a smaller preset, or update the application instead",
        )
    header = struct.pack(
        "<4sII16s28sI4x",
        MAGIC,
        len(content),
        PAYLOAD_FORMAT,
        bundle.spec.hash_hex.encode(),
        version.encode(),
        labels_crc32(bundle.labels),
    )
    digest = hashlib.sha256(header + content).digest()
    r, s = utils.decode_dss_signature(key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))
    return header + r.to_bytes(32, "big") + s.to_bytes(32, "big") + content


def labels_crc32(labels: Sequence[str]) -> int:
    """CRC-32 of the label names joined by line feeds: what the device compares with its own."""
    return zlib.crc32("\n".join(labels).encode())


def payload(bundle: Bundle) -> bytes:
    """Return what the header signs: detector, golden vector and network."""
    from earmark_training.tflm import minimal_arena_bytes

    model = parse_model(bundle.tflite)
    inputs, outputs = golden.vectors(model)
    vector = b"".join(np.ascontiguousarray(a, np.int8).tobytes() for a in (*inputs, *outputs))
    records, classes = _labels(bundle.params, PAYLOAD_HEADER_BYTES)
    labels = records + classes
    golden_at = PAYLOAD_HEADER_BYTES + len(labels)
    tflite_at = -(-(golden_at + len(vector)) // 16) * 16
    spec, params = bundle.spec, bundle.params
    row_us = spec.hop_length * 1_000_000 // spec.sample_rate_hz
    cadence_features = spec.n_features if params.min_contrast else 0
    head = struct.pack(
        "<4sI6HI IHBB 20s20s I II II I 64s",
        PAYLOAD_MAGIC,
        spec.sample_rate_hz,
        *(spec.hop_length, spec.n_features, spec.context_frames, params.hop_frames),
        *(len(params.labels), bundle.info.model.n_scores, row_us * params.hop_frames),
        *(row_us, cadence_features, params.min_contrast, params.clip_steps),
        _tensor(model.tensors[model.inputs[0]]),
        _tensor(model.tensors[model.outputs[0]]),
        minimal_arena_bytes(model),
        *(tflite_at, len(model.data)),
        *(golden_at, zlib.crc32(vector)),
        PAYLOAD_HEADER_BYTES,
        bundle.info.model.sha256.encode(),
    )
    body = head + labels + vector
    return body + bytes(tflite_at - len(body)) + bytes(model.data)


def _tensor(tensor: Tensor) -> bytes:
    """Scale, zero point, rank and up to six dimensions: 20 bytes."""
    quantisation = tensor.quantisation
    if quantisation is None or len(tensor.shape) > MAX_RANK:
        raise EarmarkError(f"{tensor} cannot be described", "write the bundle again")
    dims = (*tensor.shape, *(0 for _ in range(MAX_RANK - len(tensor.shape))))
    scale, zero_point = float(quantisation.scale[0]), int(quantisation.zero_point[0])
    return struct.pack("<fhH6H", scale, zero_point, len(tensor.shape), *dims)


def _labels(params: DetectorParams, offset: int) -> tuple[bytes, bytes]:
    """Return the records, and the class indices that they point to."""
    if len(params.labels) > MAX_LABELS:
        raise EarmarkError(
            f"{len(params.labels)} labels, a device holds {MAX_LABELS}", "train fewer labels"
        )
    records, classes = b"", b""
    classes_at = offset + len(params.labels) * _LABEL.size
    for label in params.labels:
        at = classes_at + len(classes) if label.classes is not None else 0
        records += _record(label, at)
        classes += struct.pack(f"<{len(label.classes or ())}H", *(label.classes or ()))
    return records, classes


_LABEL = struct.Struct(f"<{NAME_BYTES}s6HIIIBB3HI")


def _record(label: LabelParams, classes_at: int) -> bytes:
    return _LABEL.pack(
        label.name.encode(),
        len(label.classes or ()),
        *(label.on_permille, label.off_permille, label.min_permille, label.max_permille),
        label.alpha_q15,
        *(label.min_duration_ms, label.refractory_ms, label.update_ms),
        *(label.flags, label.cadence.c_value, label.cadence_permille),
        *(label.cadence_alone_permille, label.gate_permille, classes_at),
    )
