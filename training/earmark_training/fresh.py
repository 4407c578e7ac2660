"""Windows drawn anew for every epoch: mixtures, levels, equalisers and noise, on mel energies."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from earmark_training import energies
from earmark_training.windows import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from earmark_dsp.spec import FrontEndSpec

    from earmark_training.augment import Augmentation
    from earmark_training.windows import EpochPlan, LabelledClip

_CLIPS_AT_ONCE = 512  # a quarter of a gigabyte of energies
_SHIFT_ROWS = 60
_TWO_CLASSES_LEAST_SHARE = 0.5
_ALARM_SNR_DB = (3.0, 20.0)
_BACKGROUND_DBFS = (-60.0, -20.0)
_ROOM_QUARTERS = (4, 8)  # see augment.ROOM_EXPONENT


class FreshWindows:
    """Draws the windows of numbered epochs from banks of energies.

    Parameters
    ----------
    groups : mapping of str to sequence of LabelledClip
        Clips by fold; each fold's bank is drawn, and kept, alone.
    labels : sequence of str
    spec : FrontEndSpec
    plan : EpochPlan
        Per epoch.
    options : Augmentation
    seed : int
    folder : Path or None
        Keeps the banks for other trainings.
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[LabelledClip]],
        *,
        labels: Sequence[str],
        spec: FrontEndSpec,
        plan: EpochPlan,
        options: Augmentation,
        seed: int,
        folder: Path | None = None,
    ) -> None:
        self.labels = tuple(labels)
        self._spec = spec
        self._plan = plan
        self._options = options
        self._seed = seed
        n_all = sum(len(clips) for clips in groups.values())
        banks = [
            energies.draw_bank(
                clips,
                labels=labels,
                spec=spec,
                options=options,
                folder=folder,
                n_all_clips=n_all,
            )
            for clips in groups.values()
        ]
        self._clips = energies.Variants.join([bank.clips for bank in banks])
        self._alarms = energies.Variants.join([bank.alarms for bank in banks])
        self._noise = energies.draw_noise(spec)
        self._one_hot = np.eye(len(labels), dtype=np.float32)
        self._background = self.labels.index(BACKGROUND)

    @property
    def fingerprint(self) -> str:
        """Changes with everything that decides the windows of an epoch."""
        text = json.dumps([asdict(self._plan), asdict(self._options), self._seed, self.labels])
        digest = hashlib.sha256(f"{text}{self._spec.hash_hex}".encode())
        for sounds in (self._clips, self._alarms):
            digest.update(sounds.rows.tobytes() + sounds.active.tobytes())
        for module in (energies, sys.modules[__name__]):
            digest.update(inspect.getsource(module).encode())
        return digest.hexdigest()[:16]

    def get(self, number: int) -> dict[str, np.ndarray]:
        """Return the windows of epoch `number`.

        Returns
        -------
        dict of str to ndarray
            ``windows`` int8 (n, frames, features); ``targets`` float32 (n, n_labels), rows sum to
            1, mixtures have two entries.
        """
        rng = np.random.default_rng((self._seed, number))
        cut = [self._windows(*sounds, rng) for sounds in self._sounds(rng)]
        return {
            "windows": np.concatenate([windows for windows, _ in cut]),
            "targets": np.concatenate([targets for _, targets in cut]),
        }

    def _sounds(
        self, rng: np.random.Generator
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (powers, activity, targets) of a few hundred sounds at a time."""
        order = rng.permutation(len(self._clips.classes))
        for start in range(0, len(order), _CLIPS_AT_ONCE):
            powers, active, targets = self._mixtures(order[start : start + _CLIPS_AT_ONCE], rng)
            yield self._over_noise(powers, rng), active, targets
        powers, active, targets = self._alarms_at_home(rng)
        yield self._over_noise(powers, rng), active, targets
        yield self._backgrounds(rng)

    def _shifted(
        self, sounds: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (powers, activity, classes) of sounds elsewhere in time, before a microphone."""
        rows, active, classes = self._clips.draw(sounds, rng)
        n_rows = rows.shape[1]
        by = rng.integers(-_SHIFT_ROWS, _SHIFT_ROWS + 1, len(sounds))
        at = np.arange(n_rows) - by[:, None]
        inside = (at >= 0) & (at < n_rows)
        at = np.clip(at, 0, n_rows - 1)
        index = np.arange(len(sounds))[:, None]
        rows, active = rows[index, at], active[index, at] & inside
        rows[~inside] = energies.SILENCE_LOG
        rows += energies.equalisers(self._spec, len(sounds), self._options.eq_db, rng)
        return np.exp(rows), active, classes

    def _mixtures(
        self, sounds: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mix each sound with another; the label is the share in which each is heard.

        The kept variants have one level, so shares of amplitude are shares of loudness (Tokozume
        et al., ICLR 2018); the powers of independent sounds add. A sound over a background is that
        sound; a background stays by itself.
        """
        n = len(sounds)
        first, active, class_of_first = self._shifted(sounds, rng)
        others = rng.integers(len(self._clips.classes), size=n)
        second, _, class_of_second = self._shifted(others, rng)
        share = rng.uniform(_TWO_CLASSES_LEAST_SHARE, 1, n).astype(np.float32)
        share[rng.random(n) >= self._options.mix_probability] = 1
        over_background = class_of_second == self._background
        share[(class_of_first == self._background) & ~over_background] = 1
        total = share**2 + (1 - share) ** 2
        first *= (share**2 / total)[:, None, None]
        first += second * ((1 - share) ** 2 / total)[:, None, None]
        share[over_background] = 1  # from here on: of the label
        targets = share[:, None] * self._one_hot[class_of_first]
        targets += (1 - share)[:, None] * self._one_hot[class_of_second]
        return first, active, targets

    def _alarms_at_home(
        self, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw alarms, half of them over a recording."""
        n = min(2 * self._plan.n_alarm_clips, len(self._alarms.classes))
        chosen = rng.choice(len(self._alarms.classes), n, replace=False)
        rows, active, classes = self._alarms.draw(chosen, rng)
        rows += energies.equalisers(self._spec, n, self._options.eq_db, rng)
        recorded, _, _ = self._clips.draw(rng.integers(len(self._clips.classes), size=n), rng)
        behind = _power(-rng.uniform(*_ALARM_SNR_DB, n))
        behind[rng.random(n) < 0.5] = 0
        return np.exp(rows) + behind * np.exp(recorded), active, self._one_hot[classes]

    def _backgrounds(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        n, n_rows = self._plan.n_background_clips, self._clips.rows.shape[2]
        powers = self._coloured(rng.uniform(*_BACKGROUND_DBFS, n), _ROOM_QUARTERS, rng)
        powers *= np.exp(energies.equalisers(self._spec, n, self._options.eq_db, rng))
        powers += self._floor(n, rng)
        targets = np.repeat(self._one_hot[None, self._background], n, axis=0)
        return powers, np.zeros((n, n_rows), bool), targets

    def _over_noise(self, powers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Set levels, lay some sounds over the noise of a home, and a floor under everything."""
        options, n = self._options, len(powers)
        peak_dbfs = rng.uniform(*options.gain_db, n)
        powers *= _power(peak_dbfs - energies.BANK_DBFS)
        noisy = np.flatnonzero(rng.random(n) < options.background_probability)
        level_dbfs = peak_dbfs[noisy] - rng.uniform(*options.background_snr_db, len(noisy))
        powers[noisy] += self._coloured(level_dbfs, _ROOM_QUARTERS, rng)
        powers += self._floor(n, rng)
        return powers

    def _floor(self, n: int, rng: np.random.Generator) -> np.ndarray:
        level_dbfs = rng.uniform(*self._options.noise_floor_dbfs, n)
        rounding = np.float32(np.exp(energies.SILENCE_LOG))
        floor: np.ndarray = self._coloured(level_dbfs, (0, energies.NOISE_QUARTERS), rng) + rounding
        return floor

    def _coloured(
        self, level_dbfs: np.ndarray, quarters: tuple[int, int], rng: np.random.Generator
    ) -> np.ndarray:
        """Cut noise of a level from the kept minutes [shape=(n, n_rows, n_mels)]."""
        n_rows = self._clips.rows.shape[2]
        colour = rng.integers(quarters[0], quarters[1] + 1, len(level_dbfs))
        start = rng.integers(self._noise.shape[1] - n_rows, size=len(level_dbfs))
        rows = start[:, None] + np.arange(n_rows)
        level = _power(level_dbfs - energies.NOISE_DBFS)
        noise: np.ndarray = self._noise[colour[:, None], rows] * level
        return noise

    def _windows(
        self, powers: np.ndarray, active: np.ndarray, targets: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cut windows and compress them; one in which nothing sounds is background.

        Such a window is drawn again, once: background keeps a share, and a clip that is mostly
        silence still teaches its sound.
        """
        n, n_rows = active.shape
        n_frames = self._spec.context_frames
        heard_before = np.pad(np.cumsum(active, axis=1), ((0, 0), (1, 0)))
        index = np.arange(n)[:, None]

        def sounds(start: np.ndarray) -> np.ndarray:
            heard: np.ndarray = heard_before[index, start + n_frames] > heard_before[index, start]
            return heard

        shape = (2, n, self._plan.windows_per_clip)
        first, second = rng.integers(0, n_rows - n_frames + 1, shape)
        start = np.where(sounds(first), first, second)
        rows = start[:, :, None] + np.arange(n_frames)
        at = index[:, :, None], rows
        smooth = energies.smoothed(self._spec, powers)
        windows = energies.compressed(
            self._spec, powers[at], None if smooth is None else smooth[at]
        )
        labelled = np.where(
            sounds(start)[:, :, None], targets[:, None], self._one_hot[self._background]
        )
        return windows.reshape(-1, *windows.shape[2:]), labelled.reshape(-1, targets.shape[1])


def _power(level_db: np.ndarray) -> np.ndarray:
    """Return ratios of power [shape=(n, 1, 1), dtype=float32]."""
    ratio: np.ndarray = (10 ** (level_db / 10)).astype(np.float32)[:, None, None]
    return ratio
