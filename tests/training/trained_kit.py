"""Small recordings of four kinds, a training of seconds, and its bundle."""

from __future__ import annotations

import numpy as np
from earmark_datasets import synth
from earmark_datasets.audio import to_int16, write_wav
from earmark_datasets.manifest import Clip, Manifest, save_manifest
from earmark_dsp.spec import load_spec
from earmark_training import workflow
from earmark_training.quantize import quantize
from earmark_training.recordings import open_background
from earmark_training.train import Recipe, train
from earmark_training.windows import EpochPlan

RATE_HZ = 16000
CLIP_S = 2
RECIPE = Recipe(
    epochs=2,
    batch_size=8,
    plan=EpochPlan(windows_per_clip=2, n_alarm_clips=2, n_background_clips=2),
)


def sounds(folder, n_folds=3, per_fold=2):
    """Hum, hiss and beep in folds, from two collections under two licences."""
    clips = []
    for fold in range(1, n_folds + 1):
        for number in range(per_fold):
            rng = np.random.default_rng((fold, number))
            n = CLIP_S * RATE_HZ
            kinds = {
                "hum": 0.3 * synth.tone(synth.Voice(250 + 20 * number), n),
                "hiss": 0.1 * synth.coloured_noise(n, 0, rng),
                "beep": 0.3 * synth.tone(synth.Voice(2500 + 50 * fold), n),
            }
            for label, samples in kinds.items():
                path = folder / f"{label} {fold}é{number}.wav"
                write_wav(path, to_int16(samples))
                clips.append(
                    Clip(
                        path,
                        label,
                        fold=fold,
                        group=path.stem,
                        source="attic" if number else "cellar",
                        licence="CC0-1.0" if label == "hum" else "CC-BY-4.0",
                        attribution="Ada" if label == "hiss" else "Ben",
                    )
                )
    return Manifest(tuple(clips))


def backgrounds(folder, n=16):
    """Write music of seven seconds, a quarter of it to train on; return its manifest's path."""
    folder.mkdir()
    clips = []
    for number in range(n):
        path = folder / f"song {number}.wav"
        notes = [synth.tone(synth.Voice(200 + 40 * number + 90 * i), RATE_HZ) for i in range(7)]
        write_wav(path, to_int16(0.2 * np.concatenate(notes)))
        clips.append(Clip(path, "music", licence="CC-BY-3.0", attribution="Cyd"))
    save_manifest(Manifest(tuple(clips)), folder / "manifest.csv")
    return folder / "manifest.csv"


def trained_bundle(folder, *, test_fold=3, recipe=RECIPE, spec_name="pcen-64-20ms"):
    """Return (bundle, manifest, TrainResult); the manifest's CSV is ``folder/manifest.csv``.

    Trained with `backgrounds` besides.
    """
    manifest = sounds(folder)
    save_manifest(manifest, folder / "manifest.csv")
    spec = load_spec(spec_name)
    clips, _ = manifest.split(test_fold)
    background = open_background(backgrounds(folder / "songs"), manifest, leave_out={test_fold})
    clips = background.added_to(clips)
    result = train(clips, spec=spec, recipe=recipe, work_dir=folder / "checkpoints")
    windows = workflow.representative_windows(clips, result.labels, spec, recipe)
    bundle = workflow.bundle_from(
        folder / "bundle",
        tflite=quantize(result.model, windows, spec),
        spec=spec,
        result=result,
        data_name=str(folder / "manifest.csv"),
        clips=manifest,
        name="kit",
        test_fold=test_fold,
        recipe=recipe,
        background=background,
    )
    return bundle, manifest, result
