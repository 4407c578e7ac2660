"""System tools in tests: skipped with a reason on a laptop, a failure when CI=true."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# Debian keeps server binaries outside PATH.
_EXTRA_PATHS = ("/usr/sbin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin"))))


def require_tool(*names: str) -> str:
    """Return the path of the first of `names` that exists; otherwise skip, or fail under CI."""
    search_path = os.pathsep.join((os.environ.get("PATH", ""), *_EXTRA_PATHS))
    for name in names:
        if found := shutil.which(name, path=search_path):
            return found
    reason = f"{' or '.join(names)} not installed; run scripts/install-system-packages.sh"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
