"""The front-end specification: one TOML file, one frozen dataclass, one hash."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import MISSING, asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from earmark_dsp.errors import EarmarkError
from earmark_dsp.sources import sources_root

# Part of the hash: firmware built with other integer arithmetic must not accept the same model.
ARITHMETIC_REVISION = 1
HASH_HEX_DIGITS = 16


@dataclass(frozen=True)
class LogCompression:
    """``log(max(mel, floor) + offset)``.

    Parameters
    ----------
    offset, floor : float
        In units of mel energy of PCM whose full scale is 1.0. One of them must be positive.
    unit : {"natural", "decibel"}
        ``natural``: ln. ``decibel``: 10 log10.
    """

    offset: float
    floor: float = 0.0
    unit: str = "natural"


@dataclass(frozen=True)
class PcenCompression:
    """Per-channel energy normalisation [1]_, its smoother running on with the stream.

    ``m += smoothing * (E - m)``, ``y = (E / (m + epsilon)**gain + bias)**root - bias**root``.
    The first frame after a reset sets ``m = E``.

    Parameters
    ----------
    smoothing : float
        0..1, weight of the newest frame.
    gain : float
        0..1. Below 1, so that a steady tone keeps part of its level.
    bias, root, epsilon : float
        Positive; root at most 1.

    References
    ----------
    .. [1] Y. Wang et al., Trainable frontend for robust and far-field keyword spotting,
       ICASSP 2017.
    """

    smoothing: float
    gain: float
    bias: float
    root: float
    epsilon: float


@dataclass(frozen=True)
class Dct:
    """Orthonormal DCT-II over the log-mel bands: mel-frequency cepstral coefficients.

    Parameters
    ----------
    n_coefficients : int
        1..n_mels.
    lifter : int
        Coefficient n is multiplied by ``1 + lifter / 2 * sin(pi * (n + 1) / lifter)``; 0: none.
    """

    n_coefficients: int
    lifter: int = 0


@dataclass(frozen=True)
class FrontEndSpec:
    """Everything that decides the features; values are checked on construction.

    Parameters
    ----------
    name, description : str
        For people; not part of the hash.
    sample_rate_hz : int
    context_frames : int
        Feature rows per model window.
    window : {"hann", "hamming", "rectangular"}
        Periodic form, as ``scipy.signal.get_window`` and ``librosa`` use it.
    window_length, hop_length, fft_length : int
        In samples; hop <= window <= fft; fft a power of two, 64..2048.
    preemphasis : float
        ``y[n] = x[n] - preemphasis * x[n - 1]``, 0 <= preemphasis < 1.
    spectrum : {"power", "magnitude"}
    n_mels : int
    fmin_hz, fmax_hz : float
    mel_scale : {"htk", "slaney"}
    mel_interpolation : {"hertz", "mel"}
        Axis on which the triangles are straight: ``hertz`` as in librosa, ``mel`` as in TensorFlow.
    mel_norm : {"none", "slaney"}
    compression : LogCompression or PcenCompression
    dct : Dct or None
        Only after a logarithm.
    output_scale : float
        ``real = output_scale * (int8 - output_zero_point)``; a float32 value.
    output_zero_point : int
        -128..127.
    """

    name: str
    sample_rate_hz: int
    context_frames: int
    window: str
    window_length: int
    hop_length: int
    fft_length: int
    preemphasis: float
    spectrum: str
    n_mels: int
    fmin_hz: float
    fmax_hz: float
    mel_scale: str
    mel_interpolation: str
    mel_norm: str
    compression: LogCompression | PcenCompression
    dct: Dct | None
    output_scale: float
    output_zero_point: int
    description: str = ""

    def __post_init__(self) -> None:
        from earmark_dsp.validate import validate

        validate(self)

    @property
    def n_features(self) -> int:
        """Values per feature row."""
        return self.n_mels if self.dct is None else self.dct.n_coefficients

    @property
    def context_samples(self) -> int:
        """Samples of audio under one model window."""
        return (self.context_frames - 1) * self.hop_length + self.window_length

    @cached_property
    def hash_hex(self) -> str:
        """16 hex digits over the canonical form: key order, name and description do not count."""
        canonical = {"arithmetic_revision": ARITHMETIC_REVISION} | asdict(self)
        del canonical["name"], canonical["description"]
        canonical["compression"]["kind"] = type(self.compression).__name__
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:HASH_HEX_DIGITS]

    def n_frames(self, n_samples: int) -> int:
        """Rows that `n_samples` samples give after a reset."""
        if n_samples < self.window_length:
            return 0
        return 1 + (n_samples - self.window_length) // self.hop_length

    def to_toml(self) -> str:
        """Return the TOML text that `load_spec` reads back to an equal specification."""
        lines = [f"name = {json.dumps(self.name)}"]
        if self.description:
            lines.append(f"description = {json.dumps(self.description)}")
        for table, keys in _LAYOUT.items():
            if table:
                lines += ["", f"[{table}]"]
            lines += [
                f"{key} = {_toml_value(getattr(self, attribute))}"
                for key, attribute in keys.items()
            ]
        for table, part in (("compression", self.compression), ("dct", self.dct)):
            if part is not None:
                kind = [f"kind = {json.dumps(_kind_of(part))}"] if table == "compression" else []
                values = [f"{key} = {_toml_value(value)}" for key, value in asdict(part).items()]
                lines += ["", f"[{table}]", *kind, *values]
        return "\n".join(lines) + "\n"


# TOML table -> key -> attribute of FrontEndSpec.
_LAYOUT: dict[str, dict[str, str]] = {
    "": {"sample_rate_hz": "sample_rate_hz", "context_frames": "context_frames"},
    "frame": {
        key: key for key in ("window", "window_length", "hop_length", "fft_length", "preemphasis")
    },
    "spectrum": {"kind": "spectrum"},
    "mel": {
        "n_mels": "n_mels",
        "fmin_hz": "fmin_hz",
        "fmax_hz": "fmax_hz",
        "scale": "mel_scale",
        "interpolation": "mel_interpolation",
        "norm": "mel_norm",
    },
    "output": {"scale": "output_scale", "zero_point": "output_zero_point"},
}
_COMPRESSIONS: dict[str, type[LogCompression | PcenCompression]] = {
    "log": LogCompression,
    "pcen": PcenCompression,
}


def _kind_of(part: object) -> str:
    return next((kind for kind, cls in _COMPRESSIONS.items() if isinstance(part, cls)), "")


def _toml_value(value: object) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _typed(value: object, wanted: str, where: str) -> object:
    """Accept an int where a float is wanted; refuse anything else of another type."""
    if wanted == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value).__name__ != wanted:
        raise EarmarkError(f"{where}: {value!r} is not of type {wanted}")
    return value


def _take(table: dict[str, Any], cls: type, keys: dict[str, str], where: str) -> dict[str, Any]:
    """Read `keys` (TOML key -> attribute of `cls`); refuse missing and unknown ones."""
    fields = cls.__dataclass_fields__  # type: ignore[attr-defined]
    if unknown := sorted(set(table) - set(keys)):
        raise EarmarkError(f"{where}: unknown key {unknown[0]!r}", f"known here: {', '.join(keys)}")
    out = {}
    for key, attribute in keys.items():
        field = fields[attribute]
        if key in table:
            out[attribute] = _typed(table[key], str(field.type), f"{where}{key}")
        elif field.default is MISSING:
            raise EarmarkError(f"{where}{key} is missing", f"add it, for example as in {_EXAMPLE}")
    return out


_EXAMPLE = "dsp/specs/logmel-64-20ms.toml"


def parse_spec(text: str, *, origin: str) -> FrontEndSpec:
    """Build a specification from TOML text; `origin` names it in error messages."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise EarmarkError(f"{origin}: not valid TOML: {exc}") from exc
    known = {"compression", "dct", *(table for table in _LAYOUT if table)}
    tables = {key: value for key, value in data.items() if isinstance(value, dict)}
    if unknown := sorted(set(tables) - known):
        raise EarmarkError(f"{origin}: unknown table [{unknown[0]}]", f"known: {sorted(known)}")
    try:
        values = _take(
            {key: value for key, value in data.items() if key not in tables},
            FrontEndSpec,
            _LAYOUT[""] | {"name": "name", "description": "description"},
            "",
        )
        for table, keys in _LAYOUT.items():
            if table:
                values |= _take(tables.get(table, {}), FrontEndSpec, keys, f"{table}.")
        values["compression"] = _parse_compression(dict(tables.get("compression", {})))
        values["dct"] = None
        if "dct" in tables:
            values["dct"] = Dct(**_take(tables["dct"], Dct, _own_keys(Dct), "dct."))
        return FrontEndSpec(**values)
    except EarmarkError as exc:
        raise EarmarkError(f"{origin}: {exc.what}", exc.hint) from exc


def _own_keys(cls: type) -> dict[str, str]:
    return {key: key for key in cls.__dataclass_fields__}  # type: ignore[attr-defined]


def _parse_compression(table: dict[str, Any]) -> LogCompression | PcenCompression:
    kind = table.pop("kind", None)
    if kind not in _COMPRESSIONS:
        raise EarmarkError(f"compression.kind: {kind!r} is not known", "use 'log' or 'pcen'")
    cls = _COMPRESSIONS[kind]
    return cls(**_take(table, cls, _own_keys(cls), "compression."))


def list_specs() -> list[str]:
    """Return the names of the specifications that ship with Earmark."""
    return sorted(path.stem for path in (sources_root() / "dsp" / "specs").glob("*.toml"))


def load_spec(name_or_path: str | Path) -> FrontEndSpec:
    """Load a specification that ships with Earmark by name, or any TOML file by path.

    Raises
    ------
    EarmarkError
        If it does not exist or a value is impossible; says which and what would be valid.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = sources_root() / "dsp" / "specs" / f"{name_or_path}.toml"
        if not path.is_file():
            raise EarmarkError(
                f"no front end is called {str(name_or_path)!r}",
                f"use one of {', '.join(list_specs())}, or the path of a .toml file",
            )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise EarmarkError(f"cannot read the front-end specification {path}: {exc}") from exc
    return parse_spec(text, origin=str(path))
