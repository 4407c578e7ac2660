"""Where the C sources, specifications and build files are: in the checkout or in the wheel."""

from __future__ import annotations

from pathlib import Path

from earmark_dsp.errors import EarmarkError


def sources_root() -> Path:
    """Return the directory that holds ``dsp/c``, ``dsp/specs`` and ``firmware/``.

    Raises
    ------
    EarmarkError
        If neither a checkout nor the copies inside the installed package are found.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "_sources", package.parents[1]):
        if (candidate / "dsp" / "c").is_dir():
            return candidate
    raise EarmarkError(
        f"the C sources of Earmark are missing next to {package}",
        "reinstall with `pip install --force-reinstall .` from a checkout",
    )
