"""`earmark data` on a small folder of sounds."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from earmark_datasets import explore, synth
from earmark_datasets.cli import app
from earmark_datasets.manifest import Clip
from typer.testing import CliRunner

RATE_HZ = 16000


@pytest.fixture
def sounds(tmp_path, monkeypatch):
    """A folder per label; one recording is there twice."""
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "my sounds"
    for label in ("hum", "hiss"):
        (root / label).mkdir(parents=True)
        for number in range(4):
            rng = np.random.default_rng(number)
            tone = 0.3 * synth.tone(synth.Voice(300.0 * (number + 1)), 2 * RATE_HZ)
            noise = 0.05 * synth.coloured_noise(2 * RATE_HZ, 1, rng)
            samples = noise + (tone if label == "hum" else 0)
            soundfile.write(root / label / f"ü {number}.wav", samples, RATE_HZ)
    copied = (root / "hum" / "ü 0.wav").read_bytes()
    (root / "hum" / "copy.wav").write_bytes(copied)
    return root


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_lint_finds_the_copy_and_exits_with_its_verdict(sounds):
    result = run("lint", sounds, "--json")
    findings = json.loads(result.stdout)
    text = json.dumps(findings, ensure_ascii=False)
    assert "copy.wav" in text
    assert "duplicate" in text


def test_synth_writes_the_alarm_it_names(tmp_path):
    out = tmp_path / "t3.wav"
    assert run("synth", "t3", "--out", out, "--duration-s", 8, "--exact").exit_code == 0
    samples, rate_hz = soundfile.read(out)
    assert (len(samples), rate_hz) == (8 * RATE_HZ, RATE_HZ)
    loud = np.abs(samples).reshape(-1, RATE_HZ // 4).max(axis=1) > 0.1
    # Quarter seconds of two cycles: on on off off, three times, then 1.5 s of silence at the end.
    assert "".join("x" if v else "." for v in loud[:16]) == "xx..xx..xx......"


def test_mix_writes_stream_events_and_label_track(sounds, tmp_path):
    out = tmp_path / "stream.wav"
    result = run("mix", sounds, "--out", out, "--n-events", 3, "--duration-s", 60)
    assert result.exit_code == 0, result.output
    samples, _ = soundfile.read(out)
    assert len(samples) == 60 * RATE_HZ
    with out.with_suffix(".csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    assert all(0 <= float(r["onset_s"]) < float(r["offset_s"]) <= 60 for r in rows)
    track = out.with_suffix(".txt").read_text().splitlines()
    assert [line.split("\t")[2] for line in track] == [r["label"] for r in rows]


def test_explore_writes_one_page_that_needs_no_network(sounds, tmp_path):
    out = tmp_path / "page.html"
    result = run("explore", sounds, "--out", out)
    assert result.exit_code == 0, result.output
    html = out.read_text("utf-8")
    assert not re.search(r"(?:src|href)=[\"']?https?:", html)
    assert html.count("data:audio") >= 2
    assert "hum" in html


def test_a_mislabelled_clip_is_suspected_and_says_what_it_sounds_like():
    rng = np.random.default_rng(1)
    where = np.repeat([[0.0, 0.0], [9.0, 9.0]], 12, axis=0) + rng.normal(size=(24, 2))
    names = ["hum"] * 12 + ["hiss"] * 12
    names[3] = "hiss"
    clips = [Clip(Path(f"{i}.wav"), name) for i, name in enumerate(names)]
    doubt, sounds_like = explore.suspicion(where, clips)
    assert np.flatnonzero(doubt > 0.5).tolist() == [3]
    assert sounds_like[3] == "hum"
    # Copies of it, in its own group, cannot vouch for it.
    clips[3:6] = [Clip(Path(f"{i}.wav"), "hiss", group="tape") for i in range(3)]
    doubt, sounds_like = explore.suspicion(where, clips)
    assert set(np.flatnonzero(doubt > 0.5)) == {3, 4, 5}
    assert set(sounds_like[3:6]) == {"hum"}
