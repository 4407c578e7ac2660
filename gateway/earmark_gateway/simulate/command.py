"""`earmark-gateway simulate`: progress on the screen, one line of result."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console

from earmark_gateway.simulate.fleet import Fleet, FleetOptions, run_fleet

if TYPE_CHECKING:
    from rich.status import Status


def run_simulation(options: FleetOptions) -> int:
    """Run a fleet; exit status 0 if every event was acknowledged."""
    console = Console(stderr=True)
    with console.status("connecting") as status:
        result = run_fleet(options, lambda fleet: _show(status, fleet))
    sys.stdout.write(
        f"{options.n_devices} devices, {result.seconds:.0f} s: {len(result.accepted)} events "
        f"accepted, {result.acknowledged} acknowledged, {result.pending} waiting, "
        f"{result.resent} sent again, {result.dropped} dropped, {result.reboots} reboots\n"
    )
    return 1 if result.pending else 0


def _show(status: Status, fleet: Fleet) -> None:
    phase = "hearing" if fleet.hearing else "delivering"
    status.update(f"{phase}: {fleet.n_heard} events, {fleet.pending} waiting")
