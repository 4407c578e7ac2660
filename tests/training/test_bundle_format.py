"""The bundle refuses what does not belong together, and is written whole or not at all."""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest
from earmark_dsp.errors import EarmarkError
from earmark_dsp.spec import load_spec
from earmark_training.deploy.bundle import Bundle, rewrite_bundle
from earmark_training.detector import default_params

sys.path.insert(0, str(Path(__file__).parent))

import bundle_kit


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return bundle_kit.make_bundle(tmp_path_factory.mktemp("bundle") / "demo")


@pytest.fixture
def copy(written, tmp_path):
    shutil.copytree(written.path, tmp_path / "copy")
    return tmp_path / "copy"


def test_round_trip_through_directory_and_tar(written, tmp_path):
    written.write_tar(tmp_path / "a.tar")
    written.write_tar(tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    for path in (written.path, tmp_path / "a.tar"):
        loaded = Bundle.load(path)
        assert loaded.info == written.info
        assert loaded.tflite == written.tflite
        assert loaded.spec.hash_hex == written.spec.hash_hex
    sha256 = written.info.model.sha256
    assert written.info.model_version == f"em-1.0.0+{sha256[:4]}"


@pytest.mark.parametrize("name", ["model.tflite", "frontend.toml", "c/bundle_info.c"])
def test_changed_and_missing_files_are_refused(copy, name):
    path = copy / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(EarmarkError, match="changed"):
        Bundle.load(copy)
    path.unlink()
    with pytest.raises(EarmarkError, match="missing"):
        Bundle.load(copy)


def edit(copy, change):
    info = json.loads((copy / "bundle.json").read_text())
    change(info)
    (copy / "bundle.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["frontend"].update(hash="0" * 16), "trained on"),
        (lambda d: d["class_names"].append("extra"), "class names"),
        (lambda d: d["model"].update(input_scale=0.5), "does not match"),
        (lambda d: d["detector"]["labels"][0].update(name="Dog!"), "event type"),
        (lambda d: d["detector"]["labels"][1].update(name="smoke_alarm"), "twice"),
        (lambda d: d["detector"].update(hop_frames=51), "skips"),
        (lambda d: d.update(format=2), "format 2"),
        (lambda d: d.update(surprise=1), "surprise"),
        (lambda d: d["files"].update({"../outside": "0"}), "missing"),
    ],
)
def test_what_does_not_belong_together_is_one_error(copy, change, message):
    edit(copy, change)
    with pytest.raises(EarmarkError, match=message):
        Bundle.load(copy)


def test_no_bundle_no_traceback(tmp_path):
    for content in (b"", b"{", b"\xff\xfe"):
        (tmp_path / "bundle.json").write_bytes(content)
        with pytest.raises(EarmarkError):
            Bundle.load(tmp_path)
    with pytest.raises(EarmarkError):
        Bundle.load(tmp_path / "absent")
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as archive:
        link = tarfile.TarInfo("bundle.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(EarmarkError, match="unexpected"):
        Bundle.load(evil)


def test_a_network_of_another_front_end_is_refused(tmp_path):
    other = load_spec("logmel-64-20ms")
    with pytest.raises(EarmarkError, match="input"):
        bundle_kit.make_bundle(tmp_path / "x", tflite_model=bundle_kit.matched_filter(other))
    assert list(tmp_path.iterdir()) == []


def test_other_directories_are_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(EarmarkError, match="not a bundle"):
        bundle_kit.make_bundle(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_failed_write_leaves_the_old_bundle(copy, monkeypatch):
    old = Bundle.load(copy)
    monkeypatch.setattr("earmark_training.deploy.bundle_c.info_source", lambda *_a, **_k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rewrite_bundle(old, name="new")
    assert Bundle.load(copy).info == old.info
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


def test_rewriting_keeps_the_rest(written, tmp_path):
    params = default_params(bundle_kit.LABELS, spec=written.spec, hop_frames=10)
    extra = rewrite_bundle(written, tmp_path / "a", extra_files={"curve.json": b"[]"})
    again = rewrite_bundle(extra, tmp_path / "b", detector_params=params)
    assert again.hop_frames == 10
    assert (again.path / "curve.json").read_bytes() == b"[]"
    assert (
        msgspec.structs.replace(again.info, detector=written.params, files=written.info.files)
        == written.info
    )
