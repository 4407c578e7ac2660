"""Shards of augmented windows: drawn once per group of clips, kept, shared by many trainings.

A group is a fold (or all clips, if they have none). Sounds are mixed within their group only, so a
shard of fold 2 serves every training that does not hold out fold 2, whatever its seed.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from earmark_datasets import synth
from earmark_datasets.audio import to_int16
from earmark_dsp.native import extract
from earmark_dsp.spec import load_spec

from earmark_training import augment, windows, yamnet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from earmark_dsp.spec import FrontEndSpec

WINDOWS, TARGETS, EMBEDDING = "windows", "targets", yamnet.EMBEDDING


@dataclass(frozen=True)
class Needs:
    """Which arrays a training reads.

    Attributes
    ----------
    activations : str
        Layer of YAMNet whose output replaces the windows, or "".
    embedding : bool
        YAMNet's embedding of the same moments.
    """

    activations: str = ""
    embedding: bool = False

    @property
    def arrays(self) -> dict[str, str]:
        """Arrays of a shard, and what tells a kept one from another."""
        kinds = {WINDOWS: self.activations or WINDOWS, TARGETS: TARGETS}
        return kinds | ({EMBEDDING: EMBEDDING} if self.embedding else {})

    @property
    def frozen(self) -> tuple[str, ...]:
        """Layers of YAMNet to run."""
        names = [self.activations] if self.activations else []
        return tuple(dict.fromkeys([*names, EMBEDDING] if self.embedding else names))


class Shards:
    """Draws numbered shards of a training set.

    Parameters
    ----------
    groups : mapping of str to sequence of LabelledClip
        The clips of each fold.
    labels : sequence of str
    spec : FrontEndSpec
    plan : EpochPlan
        Of the whole training set: alarms and backgrounds are divided among the groups.
    options : Augmentation
    needs : Needs
    folder : Path or None
        Keeps what was drawn for other trainings; None: memory only.
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[windows.LabelledClip]],
        *,
        labels: Sequence[str],
        spec: FrontEndSpec,
        plan: windows.EpochPlan,
        options: augment.Augmentation,
        needs: Needs,
        folder: Path | None = None,
    ) -> None:
        self.labels = tuple(labels)
        self._groups = groups
        self._spec = spec
        self._plan = windows.EpochPlan(
            plan.windows_per_clip,
            max(1, plan.n_alarm_clips // len(groups)),
            max(1, plan.n_background_clips // len(groups)),
        )
        self._options = options
        self._needs = needs
        self._seeds = {name: self._seed(name) for name in groups}
        self._keys = {name: self._key(name) for name in groups}
        self._folder = folder
        self._kept: dict[int, dict[str, np.ndarray]] = {}
        self._runner = yamnet.Runner(needs.frozen) if needs.frozen else None

    @property
    def fingerprint(self) -> str:
        """Changes with everything that decides the content of a shard."""
        text = f"{self._keys}{self._needs}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _seed(self, group: str) -> int:
        """Return what decides the draws: content and settings, not the text of the program."""
        digest = hashlib.sha256(json.dumps([asdict(self._plan), asdict(self._options)]).encode())
        digest.update(f"{self._spec.hash_hex}:{self.labels}".encode())
        for clip in self._groups[group]:
            digest.update(f"{clip.label}:{len(clip.samples)}".encode())
            digest.update(clip.samples.tobytes())
        return int.from_bytes(digest.digest()[:8], "big")

    def _key(self, group: str) -> str:
        digest = hashlib.sha256(str(self._seeds[group]).encode())
        for module in (augment, windows, synth):
            digest.update(inspect.getsource(module).encode())
        # Compiled code: its output stands for it.
        first = self._groups[group][0].samples
        digest.update(extract(self._spec, to_int16(first)).tobytes())
        return digest.hexdigest()[:16]

    def get(self, number: int) -> dict[str, np.ndarray]:
        """Return shard `number`.

        Returns
        -------
        dict of str to ndarray
            ``windows`` int8 (n, frames, features), or uint8 activations (n, height, width,
            channels) at YAMNet's own scale; ``targets`` float32 (n, n_labels); ``embedding``
            float16 (n, 1024) where asked for.
        """
        if number not in self._kept:
            parts = [self._group(name, number) for name in self._groups]
            self._kept[number] = {
                key: np.concatenate([part[key] for part in parts]) for key in parts[0]
            }
        return self._kept[number]

    def _group(self, name: str, number: int) -> dict[str, np.ndarray]:
        files = {
            array: self._folder and self._folder / f"{self._keys[name]}-{number}-{kind}.npy"
            for array, kind in self._needs.arrays.items()
        }
        if all(path and path.is_file() for path in files.values()):
            return {array: np.load(path) for array, path in files.items() if path}
        shard = self._draw(name, number)
        for array, path in files.items():
            if path and not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                # Other processes may draw the same: each finishes with equal content.
                draft = path.with_name(f"{path.stem}-{os.getpid()}.part.npy")
                np.save(draft, shard[array])
                draft.replace(path)
        return shard

    def _draw(self, name: str, number: int) -> dict[str, np.ndarray]:
        teacher = load_spec(yamnet.SPEC_NAME)
        same = teacher.hash_hex == self._spec.hash_hex
        drawn = windows.make_epoch(
            self._groups[name],
            labels=self.labels,
            spec=self._spec,
            plan=self._plan,
            options=self._options,
            rng=np.random.default_rng((number, self._seeds[name])),
            aligned_spec=teacher if self._runner and not same else None,
        )
        shard = {WINDOWS: drawn.windows, TARGETS: drawn.targets}
        if self._runner:
            heard = drawn.windows if drawn.aligned is None else drawn.aligned
            outputs = self._runner.run(heard)
            if self._needs.activations:
                shard[WINDOWS] = outputs[self._needs.activations]
            if self._needs.embedding:
                shard[EMBEDDING] = outputs[EMBEDDING]
        return shard
