"""Build steps that pyproject.toml cannot express: C extensions, C sources as package data."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# Needed at run time by `earmark dsp generate`, `compile` and `simulate`; in a checkout they are
# found in place (earmark_dsp.sources).
C_TREES = ("dsp/c", "dsp/specs", "firmware/components", "firmware/host", "firmware/emulator")

NATIVE_BUILDS = (
    "dsp/earmark_dsp/_native_build.py",
    "training/earmark_training/_native_build.py",
)


class BuildWithSources(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "earmark_dsp" / "_sources"
        shutil.rmtree(target, ignore_errors=True)
        for tree in C_TREES:
            if (ROOT / tree).is_dir():
                shutil.copytree(ROOT / tree, target / tree)


setup(
    cffi_modules=[
        f"{path}:ffibuilder"
        for path in (
            "dsp/earmark_dsp/_native_build.py",
            "training/earmark_training/_native_build.py",
        )
        if (ROOT / path).exists()
    ],
    cmdclass={"build_py": BuildWithSources},
)
