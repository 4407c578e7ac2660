"""Data as people have it, from import through lint to the first windows of a training."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from earmark_datasets import synth
from earmark_datasets.audio import write_wav
from earmark_datasets.cli import app
from earmark_datasets.manifest import Clip, Manifest, load_manifest
from earmark_dsp.errors import EarmarkError
from earmark_dsp.spec import load_spec
from earmark_training import evaluate
from earmark_training.augment import Augmentation
from earmark_training.cli import main
from earmark_training.train import all_labels, load_clips
from earmark_training.windows import EpochPlan, make_epoch
from typer.testing import CliRunner

RATE_HZ = 16000
SPEC = load_spec("pcen-64-20ms")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two labels, four recordings each, of one second."""
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "Töne von Zoë"
    for label in ("hum", "hiss"):
        for number in range(4):
            write(root / label / f"{number}.wav", sound(label, number))
    return root


def sound(label, number, rate_hz=RATE_HZ, seconds=1.0):
    rng = np.random.default_rng((number, len(label)))
    n_samples = round(seconds * rate_hz)
    noise = 0.1 * synth.coloured_noise(n_samples, 0, rng, sample_rate_hz=rate_hz)
    if label == "hiss":
        return noise
    voice = synth.Voice(200.0 + 37 * number)
    return 0.3 * synth.tone(voice, n_samples, sample_rate_hz=rate_hz) + 0.1 * noise


def write(path, samples, rate_hz=RATE_HZ, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, **options)


def import_and_lint(folder, *options):
    """Return the manifest and lint's findings as (check, severity, message)."""
    table = folder.parent / "manifest.csv"
    result = CliRunner().invoke(app, ["import", str(folder), "-o", str(table), *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    linted = CliRunner().invoke(app, ["lint", str(table), "--json"])
    findings = [(f["check"], f["severity"], f["message"]) for f in json.loads(linted.stdout)]
    assert linted.exit_code == any(severity == "error" for _, severity, _ in findings)
    return load_manifest(table), findings


def first_windows(manifest):
    """Do what a training does before its first step."""
    labels = all_labels(manifest)
    clips = load_clips(manifest, labels, SPEC)
    plan = EpochPlan(windows_per_clip=2, n_alarm_clips=1, n_background_clips=1)
    rng = np.random.default_rng(0)
    epoch = make_epoch(clips, labels=labels, spec=SPEC, plan=plan, options=Augmentation(), rng=rng)
    assert epoch.windows.shape == (2 * (len(clips) + 3), SPEC.context_frames, SPEC.n_features)
    assert np.allclose(epoch.targets.sum(axis=1), 1, atol=1e-5)
    return labels


def test_names_with_spaces_and_accents_mixed_channels_and_24_bit_just_work(folder):
    write(folder / "hum" / "été à la mer, n°1.wav", sound("hum", 9), subtype="PCM_24")
    stereo = np.stack([sound("hum", 10, 44100), sound("hum", 11, 44100)], axis=1)
    write(folder / "hum" / "two channels.flac", stereo, 44100)
    write(folder / "Zischen laut" / "ß.wav", sound("hiss", 12), subtype="FLOAT")
    write(folder / "Zischen laut" / "4 channels.wav", np.stack([sound("hiss", 13)] * 4, axis=1))
    manifest, findings = import_and_lint(folder)
    assert manifest.labels == ("hiss", "hum", "zischen_laut")
    assert not [f for f in findings if f[1] == "error"]
    notes = [message for check, _, message in findings if check == "format"]
    assert any("44100 Hz (1)" in note for note in notes)
    assert any("channels are averaged" in note for note in notes)
    assert {"zischen_laut", "smoke_alarm", "background"} <= set(first_windows(manifest))


def test_corrupt_files_are_all_named_by_lint_and_stop_a_training(folder):
    (folder / "hum" / "empty.wav").write_bytes(b"")
    (folder / "hum" / "text.wav").write_text("not audio")
    whole = (folder / "hiss" / "0.wav").read_bytes()
    (folder / "hiss" / "header only.wav").write_bytes(whole[:40])
    manifest, findings = import_and_lint(folder)
    messages = " ".join(message for check, _, message in findings if check == "unreadable")
    assert all(name in messages for name in ("empty.wav", "text.wav", "header only.wav"))
    with pytest.raises(EarmarkError, match=r"header only\.wav|empty\.wav|text\.wav") as caught:
        first_windows(manifest)
    assert "remove it" in str(caught.value)


def test_8_khz_in_one_class_is_an_error_of_lint(folder):
    for number in range(4):
        write(folder / "hiss" / f"{number}.wav", sound("hiss", number, 8000), 8000)
    _, findings = import_and_lint(folder)
    (message,) = [
        m for check, severity, m in findings if (check, severity) == ("bandwidth", "error")
    ]
    assert "hiss" in message
    assert "learn the recorder" in message


def test_one_label_is_explained_and_still_gives_windows(folder):
    for path in (folder / "hiss").iterdir():
        path.unlink()
    manifest, findings = import_and_lint(folder)
    assert any(check == "labels" and "only one label" in message for check, _, message in findings)
    # Alarms and background are synthesised, so that even this is not a network without a choice.
    assert first_windows(manifest) == ("background", "co_alarm", "hum", "smoke_alarm")


def test_an_empty_fold_is_explained(folder):
    manifest, _ = import_and_lint(folder, "--folds", "4")
    assert manifest.folds == (1, 2, 3, 4)
    with pytest.raises(EarmarkError, match=r"fold 5 holds no clip\n.*\[1, 2, 3, 4\]"):
        manifest.split(5)
    table = folder.parent / "manifest.csv"
    rows = table.read_text("utf-8").splitlines()
    fold = rows[0].split(",").index("fold")
    table.write_text("\n".join(r for r in rows if r.split(",")[fold] != "2"), encoding="utf-8")
    linted = CliRunner().invoke(app, ["lint", str(table)])
    assert "fold 2 is empty" in linted.stdout


def test_a_folder_without_recordings_is_explained(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("nothing here")
    with pytest.raises(EarmarkError, match="holds no labelled recording"):
        import_and_lint(tmp_path)


def test_two_hours_in_one_file_are_warned_about_and_used(folder):
    path = folder / "hum" / "long.wav"
    minute = sound("hiss", 3, RATE_HZ, 60.0)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, subtype="PCM_U8") as wav:
        for _ in range(120):
            wav.write(minute)
    manifest, findings = import_and_lint(folder)
    (message,) = [m for check, _, m in findings if check == "duration"]
    assert "1 clips are longer than 10 minutes" in message
    assert "label spans" in message
    clips = load_clips(manifest, all_labels(manifest), SPEC)
    assert max(len(clip.samples) for clip in clips) == 7200 * RATE_HZ
    path.unlink()
    for cached in (folder.parent / "cache").rglob("*.npy"):
        cached.unlink()


def train_command(folder, capsys, *options):
    """Run `earmark import` and `earmark train`; return (exit status, standard output, error)."""
    table = folder.parent / "manifest.csv"
    for arguments in (
        ["data", "import", str(folder), "-o", str(table), "--folds", "2"],
        ["train", str(table), "-o", str(folder.parent / "ein Bündel"), "--epochs", "1",
         "--test-fold", "2", "--json", *options],
    ):  # fmt: skip
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        shown = capsys.readouterr()
        if stopped.value.code:
            break
    return stopped.value.code, shown.out, shown.err


def one_error(status, out, err):
    """Return what was wrong and what to do: one message, no traceback, no result."""
    assert status == 1
    assert out == ""
    assert err.count("error: ") == 1
    assert "Traceback" not in err
    what, advice = err[err.index("error: ") :].strip().split("\n", 1)
    return what, advice.strip()


def test_train_names_the_corrupt_file_and_what_to_do(folder, capsys):
    (folder / "hum" / "0.wav").write_text("not audio")
    what, advice = one_error(*train_command(folder, capsys))
    assert "0.wav" in what
    assert "remove it" in advice
    assert not (folder.parent / "ein Bündel").exists()


def test_train_explains_an_empty_fold(folder, capsys):
    what, advice = one_error(*train_command(folder, capsys, "--test-fold", "7"))
    assert "fold 7 holds no clip" in what
    assert "[1, 2]" in advice


def test_train_explains_a_folder_without_recordings(tmp_path, capsys):
    folder = tmp_path / "empty"
    (folder / "notes").mkdir(parents=True)
    what, advice = one_error(*train_command(folder, capsys))
    assert "no labelled recording" in what
    assert advice


@pytest.mark.slow
def test_train_makes_a_bundle_of_odd_but_readable_data(folder, capsys):
    """One label at 8 kHz, accents and spaces, stereo at 44.1 kHz, 24 bits, ten minutes."""
    from earmark_training.deploy.bundle import Bundle

    for number in range(4):
        write(folder / "hiss" / f"{number}.wav", sound("hiss", number, 8000, 1.5), 8000)
        write(folder / "hum" / f"{number}.wav", sound("hum", number, RATE_HZ, 1.5))
    accents = folder / "hum" / "été à la mer, n°1.wav"
    write(accents, sound("hum", 9, RATE_HZ, 1.5), subtype="PCM_24")
    stereo = np.stack([sound("hum", n, 44100, 1.5) for n in (10, 11)], axis=1)
    write(folder / "hum" / "two channels.flac", stereo, 44100)
    write(folder / "hum" / "lang.wav", sound("hum", 3, RATE_HZ, 600.0), subtype="PCM_U8")
    status, out, err = train_command(folder, capsys)
    assert status == 0, err
    figures = json.loads(out)
    assert 0 <= figures["accuracy_c"] <= 1
    bundle = Bundle.load(folder.parent / "ein Bündel")
    assert set(bundle.info.class_names) == {
        "background", "co_alarm", "hiss", "hum", "smoke_alarm"
    }  # fmt: skip


@pytest.mark.slow
def test_train_makes_a_bundle_of_one_label(folder, capsys):
    for path in (folder / "hiss").iterdir():
        path.unlink()
    for number in range(4):
        write(folder / "hum" / f"{number}.wav", sound("hum", number, RATE_HZ, 1.5))
    status, out, err = train_command(folder, capsys)
    assert status == 0, err
    assert json.loads(out)["n_test_clips"] == 2


def test_a_clip_is_its_labelled_span_and_may_be_shorter_than_a_window(tmp_path):
    path = tmp_path / "long.wav"
    pcm = np.zeros(8 * RATE_HZ, np.int16)
    pcm[2 * RATE_HZ : 5 * RATE_HZ // 2] = 9000
    write_wav(path, pcm)
    labels = ("bump", "silence")
    clips = Manifest(
        (
            Clip(path, "bump", onset_s=2.0, offset_s=2.5),
            Clip(path, "silence", onset_s=3.0, offset_s=8.0),
        )
    )
    bump, silence = evaluate.clip_windows(clips, labels, SPEC, 25)
    assert bump.windows.shape == (1, SPEC.context_frames, SPEC.n_features)
    assert (bump.windows[0, :24] == bump.windows[0, 0]).all()
    assert len(silence.windows) == 1 + ((5 * RATE_HZ - 512) // 320 + 1 - 50) // 25
    assert len(np.unique(silence.windows)) == 1
