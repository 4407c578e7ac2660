"""Writes `report.html`: one file, no external request."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from earmark_training.demo.score import Score


def write_report(
    path: Path, *, summary: dict[str, Any], score: Score, timeline: str, confusion: str
) -> None:
    """Write the page atomically.

    Parameters
    ----------
    path : Path
        Where the page goes.
    summary : dict
        The content of `summary.json`.
    score : Score
        Played sounds with their notifications.
    timeline, confusion : str
        Pictures as data URIs (`earmark_training.demo.figures`).
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("earmark_training.demo"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    html = environment.get_template("report.html").render(
        s=summary,
        rows=score.rows,
        false_alarms=score.false_alarms,
        timeline=timeline,
        confusion=confusion,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    temporary = path.with_suffix(".html.part")
    temporary.write_text(html, "utf-8")
    temporary.replace(path)
