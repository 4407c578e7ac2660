"""Pieces of a self-contained HTML page: style, tables, numbers, embedded sounds and pictures."""

from __future__ import annotations

import base64
import html
import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
:root{--quiet:#595959;--bad:#c0392b;--good:#1e8449}
@media(prefers-color-scheme:dark){:root{--quiet:#b0b0b0;--bad:#ff8a75;--good:#6fcf8e}}
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{margin-bottom:.2rem}h2{margin-top:2.4rem;border-bottom:1px solid var(--line)}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1rem}
code{overflow-wrap:anywhere}pre{overflow-x:auto}li{margin-bottom:.3rem}
table{border-collapse:collapse;margin:.8rem 0;display:block;overflow-x:auto}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child,.words{text-align:left}
td.words:not(:first-child){white-space:normal}
tr.rule td{border-top:2px solid var(--line)}
img,svg{max-width:100%;height:auto;background:#fff;border-radius:6px}
.facts{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}
.facts div{background:var(--soft);border-radius:8px;padding:.5rem .9rem;flex:1 1 8rem}
.facts b{display:block;font-size:1.5rem}
.figures{display:flex;flex-wrap:wrap;gap:1rem}
.figures figure{margin:0;flex:1 1 24rem;max-width:30rem}
.note,figcaption{color:var(--quiet)}.bad{color:var(--bad)}.good{color:var(--good)}audio{height:2rem}
.hard{display:flex;flex-wrap:wrap;gap:1rem;padding:0;list-style:none}
.hard li{flex:1 1 18rem;background:var(--soft);border-radius:8px;padding:.6rem}
.hard img{width:100%;height:6rem;image-rendering:pixelated;border-radius:4px}
.hard audio{width:100%}
"""


# The browser itself refuses every request, whatever a name or a label might smuggle in.
_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
# A cell that belongs under its heading's right edge: a number, a percentage, an interval, or none.
_NUMERIC = re.compile(r"([-+]?[\d.,]+%?( to [-+]?[\d.,]+%?)?|\d+/\d+|-|)")


class Raw(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> str:
    """Escape a value for HTML; `Raw` passes as it is."""
    return str(value) if isinstance(value, Raw) else html.escape(str(value))


def document(title: str, body: str, *, style: str = "") -> str:
    """Return a whole page: one file that follows the reader's light or dark setting."""
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}">'
        f"<title>{text(title)}</title><style>{STYLE}{style}</style></head><body>{body}</body></html>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]], rules: Sequence[int] = ()) -> str:
    """Return a table; a heavier line is drawn above the rows numbered in `rules`.

    Columns of numbers are set to the right, columns of words to the left.
    """
    columns = [[str(row[i]) for row in rows] for i in range(len(head))]
    kinds = ["" if all(map(_NUMERIC.fullmatch, column)) else " class=words" for column in columns]
    cells = "".join(f"<th{kind}>{text(name)}</th>" for kind, name in zip(kinds, head, strict=True))
    body = "".join(
        f"<tr{' class=rule' if i in rules else ''}>"
        + "".join(f"<td{kind}>{text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for i, row in enumerate(rows)
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def place(path: str | Path) -> str:
    """Return the end of a path: a page that is passed on must not tell where it was made."""
    return "/".join(Path(path).parts[-2:])


def note(sentence: str) -> str:
    """Return a remark in a quieter colour; may hold HTML."""
    return f"<p class=note>{sentence}</p>"


def interval(pair: Sequence[float] | None, digits: int = 2) -> str:
    """Return ``low to high``; empty for None."""
    return "" if pair is None else f"{pair[0]:.{digits}f} to {pair[1]:.{digits}f}"


def percent(value: float) -> str:
    """Return a share as a percentage; a dash if it is not known."""
    return f"{value:.1%}" if math.isfinite(value) else "-"


def number(value: float | None, form: str) -> str:
    """Format a number; a dash if it is not known."""
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return the figures that matter most, large."""
    cells = "".join(f"<div><b>{text(value)}</b>{text(name)}</div>" for name, value in pairs)
    return f"<div class=facts>{cells}</div>"


def player(pcm: np.ndarray, sample_rate_hz: int) -> str:
    """Return an audio element that carries its sound (Ogg Vorbis)."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, sample_rate_hz, format="OGG", subtype="VORBIS")
    uri = "data:audio/ogg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return f"<audio controls preload=none src='{uri}'></audio>"


def feature_picture(rows: np.ndarray, description: str) -> str:
    """Return feature rows [shape=(n_frames, n_features), dtype=int8] as a picture."""
    import matplotlib.image

    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, rows.T[::-1], cmap="magma", format="png")
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return f"<img alt='{html.escape(description, quote=True)}' src='{uri}'>"
