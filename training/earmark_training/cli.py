"""`earmark`: the data scientist's command line. Each sub-command is imported only when called."""

from __future__ import annotations

import errno
import functools
import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import typer
import typer.main
from click.shell_completion import CompletionItem
from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130
# ClickException: of click, or of the copy of click that newer Typer versions carry.
_USAGE_PROBLEM: Any = typer.BadParameter.__mro__[2]


@dataclass(frozen=True)
class _Lazy:
    """Where a sub-command lives (``module:attribute``, a Typer app) and its one-line help."""

    target: str
    help: str


# Help texts stand here so that `earmark --help` imports neither TensorFlow nor librosa.
COMMANDS: dict[str, _Lazy] = {
    "demo": _Lazy("earmark_training.demo.cli:app", "Run the whole chain on an evening at home."),
    "doctor": _Lazy("earmark_training.doctor:app", "Say what is installed and what is missing."),
    "dsp": _Lazy("earmark_dsp.cli:app", "Front end: show, generate, extract, autotune."),
    "data": _Lazy("earmark_datasets.cli:app", "Recordings: import, lint, explore, mix, synth."),
    "train": _Lazy("earmark_training.train_cli:app", "Train a preset and write a model bundle."),
    "gallery": _Lazy("earmark_training.gallery:app", "See and hear the augmentation of training."),
    "tune": _Lazy("earmark_training.tune_cli:app", "Search networks under a device's budget."),
    "evaluate": _Lazy("earmark_training.evaluate_cli:app", "Score a bundle on held-out clips."),
    "compile": _Lazy("earmark_training.deploy.compile_cli:app", "Turn an int8 .tflite into C."),
    "estimate": _Lazy(
        "earmark_training.deploy.estimate_cli:app", "Cost of a model on a target, before flashing."
    ),
    "simulate": _Lazy("earmark_training.deploy.simulate_cli:app", "Run a bundle as a device."),
    "listen": _Lazy("earmark_training.listen_cli:app", "Microphone or file, live in the terminal."),
    "calibrate": _Lazy("earmark_training.calibrate_cli:app", "Choose thresholds from streams."),
    "report": _Lazy("earmark_training.report_cli:app", "One HTML page and a model card."),
    "quantize-report": _Lazy(
        "earmark_training.quantisation_cli:app", "What int8 costs, where, and what helps."
    ),
    "compare": _Lazy("earmark_training.report_compare:app", "What differs in two bundles."),
    "export": _Lazy("earmark_training.deploy.export_cli:app", "Hand over: TFLite, C library, ..."),
    "pack-model": _Lazy(
        "earmark_training.deploy.model_image_cli:app", "Sign a bundle as an update over the air."
    ),
    "new-model-key": _Lazy(
        "earmark_training.deploy.model_image_cli:key_app", "Make the key that signs model updates."
    ),
}


def _load(entry: _Lazy) -> Any:
    """Import a sub-command; it comes with Typer's own command-line parser."""
    module, attribute = entry.target.split(":")
    return typer.main.get_command(getattr(importlib.import_module(module), attribute))


def _run_typer(name: str, entry: _Lazy, arguments: tuple[str, ...]) -> int:
    """Import a sub-command and run it."""
    command = _load(entry)
    try:
        status = command.main(
            args=list(arguments), prog_name=f"earmark {name}", standalone_mode=False
        )
    except _USAGE_PROBLEM as exc:
        exc.show()
        return int(exc.exit_code)
    except typer.Abort:
        raise KeyboardInterrupt from None
    return status if isinstance(status, int) else 0


def _complete(entry: _Lazy, words: Sequence[str], incomplete: str) -> list[Any]:
    """Return a sub-command's options or further sub-commands; otherwise files."""
    command = _load(entry)
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    if not incomplete.startswith("-") and not hasattr(command, "commands"):
        return [CompletionItem(incomplete, type="file")]
    with command.make_context(command.name, [], resilient_parsing=True) as context:
        found: list[Any] = command.shell_complete(context, incomplete)
    return found


class _LazyCommand(click.Command):
    """Stands for a sub-command that is not imported yet; hands everything on."""

    def __init__(self, name: str, entry: _Lazy) -> None:
        super().__init__(
            name,
            params=[
                click.Argument(
                    ["arguments"],
                    nargs=-1,
                    type=click.UNPROCESSED,
                    shell_complete=lambda ctx, _, incomplete: self.shell_complete(ctx, incomplete),
                )
            ],
            callback=functools.partial(_run_typer, name, entry),
            # `--help` and all options belong to the sub-command.
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        )
        self._entry = entry

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Return what may follow on the command line."""
        return _complete(self._entry, ctx.params.get("arguments") or (), incomplete)


class _LazyGroup(click.Group):
    """A group that lists all sub-commands but imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else _LazyCommand(cmd_name, entry)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="earmark")
def earmark() -> None:
    """Audio event classification that never lets audio leave the device.

    Start with `earmark demo`; `earmark doctor` says what this machine still needs.
    Tab completion: eval "$(_EARMARK_COMPLETE=bash_source earmark)" (or zsh_source, fish_source).
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; a known problem becomes one message and a non-zero exit status."""
    try:
        status = earmark.main(args=argv, prog_name="earmark", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except EarmarkError as exc:
        click.echo(f"error: {exc}", err=True)
        sys.exit(EXIT_ERROR)
    except OSError as exc:
        # Full disk, no permission, vanished folder: the system's own words say it best.
        where = f"{exc.filename}: " if exc.filename else ""
        click.echo(f"error: {where}{exc.strerror or exc}", err=True)
        if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
            click.echo("  free some space; nothing that was finished is lost", err=True)
        sys.exit(EXIT_ERROR)
    sys.exit(status if isinstance(status, int) else 0)
