"""`earmark simulate`: run a bundle as a device."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from earmark_dsp.errors import EarmarkError
from rich.console import Console

from earmark_training.deploy.simulate import build_simulator, run_simulator

app = typer.Typer(add_completion=False)
PASSWORD_VARIABLE = "EARMARK_MQTT_PASSWORD"  # noqa: S105  (the name of a variable)
_console = Console(stderr=True)


def _prepare_wav(source: Path, sample_rate_hz: int, folder: Path) -> Path:
    """Return `source` if the device can take it as it is, else a converted copy in `folder`."""
    import numpy as np
    import soundfile as sf
    import soxr

    try:
        with sf.SoundFile(source) as stream:
            rate, channels, subtype = stream.samplerate, stream.channels, stream.subtype
            kind, frames = stream.format, stream.frames
            if (rate, channels, subtype, kind) == (sample_rate_hz, 1, "PCM_16", "WAV") and frames:
                return source
            audio = stream.read(dtype="float32", always_2d=True).mean(axis=1)
    except (OSError, sf.LibsndfileError) as exc:
        raise EarmarkError(f"{source} cannot be read as audio: {exc}") from None
    if not len(audio):
        raise EarmarkError(f"{source} holds no audio", "give a recording longer than a second")
    _console.print(
        f"note: {source.name} converted from {rate} Hz, {channels} channel(s), {subtype}"
    )
    resampled = soxr.resample(audio, rate, sample_rate_hz)
    pcm = np.clip(np.round(resampled * 32768.0), -32768, 32767).astype(np.int16)
    target = folder / "microphone.wav"
    sf.write(target, pcm, sample_rate_hz, subtype="PCM_16")
    return target


def _split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise EarmarkError(f"{address!r} is not HOST:PORT", "for example --mqtt localhost:1883")
    return host, int(port)


@app.command()
def simulate(
    bundle: Annotated[Path, typer.Argument(help="Bundle directory or .tar of `earmark train`.")],
    *,
    wav: Annotated[Path, typer.Option(help="What the microphone hears (any audio file).")],
    mqtt: Annotated[str, typer.Option(help="Broker, HOST:PORT.")] = "localhost:1883",
    device_id: Annotated[
        str, typer.Option(help="Name in the topics: 12 hex digits or so.")
    ] = "demo",
    realtime: Annotated[bool, typer.Option(help="As fast as the audio plays.")] = False,
    state: Annotated[
        Path | None, typer.Option(help="Keep the device's flash in this file between runs.")
    ] = None,
    build_dir: Annotated[Path, typer.Option(help="For the compiled simulator.")] = Path(
        "build/simulator"
    ),
    username: Annotated[
        str | None, typer.Option(help=f"Broker user; password from ${PASSWORD_VARIABLE}.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="CA certificate; turns TLS on.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Device certificate.")] = None,
    key: Annotated[Path | None, typer.Option(help="Device key.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Result as JSON.")] = False,
) -> None:
    """Run the firmware's own core on this machine, with a recording as its microphone.

    Example: earmark simulate build/bundle --wav evening.wav --mqtt localhost:1883 --device-id demo
    """
    from dataclasses import asdict

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.deploy.simulate_mqtt import MqttBridge

    host, port = _split_address(mqtt)
    loaded = Bundle.load(bundle)
    bridge = MqttBridge(
        host,
        port,
        username=username,
        password=os.environ.get(PASSWORD_VARIABLE),
        ca=ca,
        certificate=certificate,
        key=key,
    )
    with _console.status("building the simulator"):
        executable = build_simulator(loaded.path, build_dir)
    with tempfile.TemporaryDirectory(prefix="earmark-") as folder:
        microphone = _prepare_wav(wav, loaded.spec.sample_rate_hz, Path(folder))
        with _console.status(f"{device_id} listens to {wav.name}, reports to {mqtt}"):
            result = run_simulator(
                executable,
                wav=microphone,
                bridge=bridge,
                device_id=device_id,
                realtime=realtime,
                state=state,
            )
    if json_output:
        import json

        typer.echo(json.dumps(asdict(result)))
    else:
        typer.echo(
            f"{result.audio_s:.1f} s heard, {result.events} event messages, "
            f"{result.undelivered} undelivered ({result.protocol})"
        )
    if result.undelivered:
        raise typer.Exit(3)
