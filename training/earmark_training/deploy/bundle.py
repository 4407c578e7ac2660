"""The model bundle: what is not in it does not reach the device.

`write_bundle` is the only writer, `Bundle.load` the only reader; both apply the same checks.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tarfile
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from earmark_dsp.errors import EarmarkError
from earmark_dsp.sources import sources_root
from earmark_dsp.spec import FrontEndSpec, load_spec

from earmark_training.deploy import bundle_c
from earmark_training.deploy.bundle_schema import (
    C_DIR,
    FORMAT,
    INFO_FILE,
    MODEL_FILE,
    SPEC_FILE,
    BundleInfo,
    DataSource,
    FrontEndInfo,
    check_bundle,
    check_files,
    file_sha256,
    model_info,
)
from earmark_training.detector import DetectorParams, check_params

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

# A bundle holds one small network and its report; anything larger is not one.
MAX_FILE_BYTES = 256 << 20


class _Network(Protocol):
    def invoke(self, batch: np.ndarray) -> np.ndarray: ...


class Bundle:
    """A checked bundle on disk. Create with `Bundle.load`.

    Attributes
    ----------
    path : Path
        Directory that holds the files (a temporary one for a ``.tar``).
    info : BundleInfo
    spec : FrontEndSpec
    """

    def __init__(self, path: Path, info: BundleInfo, spec: FrontEndSpec) -> None:
        self.path = path
        self.info = info
        self.spec = spec
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def params(self) -> DetectorParams:
        """Detector parameters, as compiled into the device."""
        return self.info.detector

    @property
    def labels(self) -> tuple[str, ...]:
        """Event types, background classes included."""
        return tuple(label.name for label in self.info.detector.labels)

    @property
    def hop_frames(self) -> int:
        """Rows between inferences."""
        return self.info.detector.hop_frames

    @property
    def hop_s(self) -> float:
        """Seconds between inferences."""
        return self.hop_frames * self.spec.hop_length / self.spec.sample_rate_hz

    @property
    def tflite(self) -> bytes:
        """The int8 network."""
        return (self.path / MODEL_FILE).read_bytes()

    @property
    def c_dir(self) -> Path:
        """Generated C: model, front-end tables, ``bundle_info.c``."""
        return self.path / C_DIR

    def network(self) -> _Network:
        """Compile the bundle's C network for this machine and load it."""
        from earmark_training.deploy.hostlib import HostModel

        root = sources_root()
        headers = ["dsp/c/include"] + [
            f"firmware/components/{name}/include" for name in ("detector", "pipeline")
        ]
        network: _Network = HostModel(self.c_dir, flags=[f"-I{root / path}" for path in headers])
        return network

    @classmethod
    def load(cls, path: Path | str) -> Bundle:
        """Read and check a bundle directory or ``.tar``.

        Raises
        ------
        EarmarkError
            For the first thing that is missing, damaged or does not belong together.
        """
        path = Path(path)
        temporary = None
        if path.is_file() and tarfile.is_tarfile(path):
            temporary = tempfile.TemporaryDirectory(prefix="earmark-bundle-")
            _extract(path, Path(temporary.name))
            directory = Path(temporary.name)
        elif path.is_dir():
            directory = path
        else:
            raise EarmarkError(
                f"{path} is not a model bundle",
                "give a directory or .tar that `earmark train` wrote",
            )
        try:
            bundle = cls(directory, *_read(directory, str(path)))
        except BaseException:
            if temporary is not None:
                temporary.cleanup()
            raise
        bundle._temporary = temporary
        return bundle

    def write_tar(self, path: Path) -> None:
        """Pack into one file; the same bundle always gives the same bytes."""
        temporary = path.with_name(path.name + ".part")
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name in sorted([INFO_FILE, *self.info.files]):
                member = tarfile.TarInfo(name)
                member.size = (self.path / name).stat().st_size
                with (self.path / name).open("rb") as content:
                    archive.addfile(member, content)
        temporary.replace(path)


def write_bundle(
    out_dir: Path,
    *,
    tflite_model: bytes,
    spec: FrontEndSpec,
    class_names: Sequence[str],
    detector_params: DetectorParams,
    metrics: Mapping[str, Any] | None = None,
    data_licences: Sequence[DataSource] = (),
    limits: Sequence[str] = (),
    name: str = "earmark",
    bundle_version: str = "1.0.0",
    extra_files: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Check, generate the C code and write a bundle: as a whole or not at all.

    Parameters
    ----------
    out_dir : Path
        Directory to create. An existing bundle there is replaced; any other directory is refused.
    tflite_model : bytes
        Full int8 network whose input quantisation is that of `spec`.
    spec : FrontEndSpec
    class_names : sequence of str
        One per network output.
    detector_params : DetectorParams
    metrics : mapping
        Figures with their conditions, JSON types only.
    data_licences : sequence of DataSource
    limits : sequence of str
        What the model must not be relied on for; shown in the report.
    name, bundle_version : str
        The version reaches the gateway as ``em-VERSION+HASH``.
    extra_files : mapping
        Further files by relative name (report, float model, learning curve).

    Returns
    -------
    Bundle
    """
    out_dir = Path(out_dir)
    if out_dir.exists() and not (out_dir / INFO_FILE).is_file() and any(out_dir.iterdir()):
        raise EarmarkError(
            f"{out_dir} exists and is not a bundle", "choose another output directory"
        )
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
    try:
        scratch.chmod(0o755)
        info = _write(
            scratch,
            tflite_model,
            spec,
            detector_params,
            extra_files or {},
            {
                "class_names": tuple(class_names),
                "name": name,
                "version": bundle_version,
                "metrics": dict(metrics or {}),
                "data": tuple(data_licences),
                "limits": tuple(limits),
            },
        )
        check_bundle(scratch, info, spec, str(out_dir))
        _swap(scratch, out_dir)
    except OSError as exc:
        raise EarmarkError(
            f"{out_dir}: {exc.strerror}", "free some space or choose another place"
        ) from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Bundle(out_dir, info, spec)


def rewrite_bundle(bundle: Bundle, out_dir: Path | None = None, **changes: Any) -> Bundle:
    """Write a bundle again with some arguments of `write_bundle` changed (calibration, report)."""
    known = {INFO_FILE, MODEL_FILE, SPEC_FILE}
    extra = {
        name: (bundle.path / name).read_bytes()
        for name in bundle.info.files
        if name not in known and not name.startswith(f"{C_DIR}/")
    }
    extra.update(changes.pop("extra_files", {}))
    arguments: dict[str, Any] = {
        "tflite_model": bundle.tflite,
        "spec": bundle.spec,
        "class_names": bundle.info.class_names,
        "detector_params": bundle.params,
        "metrics": bundle.info.metrics,
        "data_licences": bundle.info.data,
        "limits": bundle.info.limits,
        "name": bundle.info.name,
        "bundle_version": bundle.info.version,
        "extra_files": extra,
    }
    return write_bundle(out_dir or bundle.path, **{**arguments, **changes})


def _write(  # noqa: PLR0917 - one caller
    directory: Path,
    tflite_model: bytes,
    spec: FrontEndSpec,
    params: DetectorParams,
    extra_files: Mapping[str, bytes],
    descriptive: dict[str, Any],
) -> BundleInfo:
    (directory / MODEL_FILE).write_bytes(tflite_model)
    (directory / SPEC_FILE).write_text(spec.to_toml())
    for name, content in extra_files.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    sha256 = hashlib.sha256(tflite_model).hexdigest()
    model_version = f"em-{descriptive['version']}+{sha256[:4]}"
    model = model_info(tflite_model, sha256, spec)
    check_params(params, model.n_scores)
    arena_bytes = bundle_c.generate(
        directory / C_DIR,
        directory / MODEL_FILE,
        spec,
        params,
        n_scores=model.n_scores,
        model_version=model_version,
    )
    files = {
        path.relative_to(directory).as_posix(): file_sha256(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    info = BundleInfo(
        format=FORMAT,
        model_version=model_version,
        frontend=FrontEndInfo(name=spec.name, hash=spec.hash_hex),
        model=msgspec.structs.replace(model, arena_bytes=arena_bytes),
        detector=params,
        tools=_tool_versions(),
        files=files,
        **descriptive,
    )
    (directory / INFO_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(info), indent=2))
    return info


def _read(directory: Path, shown: str) -> tuple[BundleInfo, FrontEndSpec]:
    try:
        info = msgspec.json.decode((directory / INFO_FILE).read_bytes(), type=BundleInfo)
    except OSError as exc:
        raise EarmarkError(
            f"{shown} has no {INFO_FILE}", "it is not a bundle, or incomplete"
        ) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise EarmarkError(
            f"{shown}/{INFO_FILE}: {exc}", f"not a bundle of format {FORMAT}; train or export again"
        ) from exc
    if info.format != FORMAT:
        raise EarmarkError(
            f"{shown}: bundle format {info.format}, this version reads {FORMAT}",
            "use the matching version of earmark",
        )
    check_files(directory, info, shown)
    spec = load_spec(directory / SPEC_FILE)
    check_bundle(directory, info, spec, shown)
    return info, spec


def _extract(archive_path: Path, directory: Path) -> None:
    try:
        with tarfile.open(archive_path) as archive:
            for member in archive:
                if not member.isfile() or member.size > MAX_FILE_BYTES:
                    raise EarmarkError(
                        f"{archive_path}: unexpected entry '{member.name}'", "this is not a bundle"
                    )
                archive.extract(member, directory, filter="data")
    except (tarfile.TarError, OSError) as exc:
        raise EarmarkError(
            f"{archive_path}: {exc}", "the archive is damaged; copy it again"
        ) from exc


def _swap(scratch: Path, out_dir: Path) -> None:
    """Put the new directory in place; a crash never leaves a mixture."""
    if not out_dir.exists():
        scratch.rename(out_dir)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-old-", dir=out_dir.parent))
    out_dir.rename(old / out_dir.name)
    try:
        scratch.rename(out_dir)
    except OSError:
        (old / out_dir.name).rename(out_dir)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _tool_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("earmark", "tensorflow", "keras", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
