"""Hands a bundle over: TFLite files, a C library, a firmware component, a notebook."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError
from earmark_dsp.sources import sources_root

if TYPE_CHECKING:
    from earmark_training.deploy.bundle import Bundle

MARKER = "EARMARK_EXPORT.md"
# A float model travels in the bundle under this name if training kept it.
KERAS_FILE = "model.keras"
_COMPONENTS = ("detector", "engine", "pipeline")

CMAKE = """cmake_minimum_required(VERSION 3.16)
project(earmark_listener C)
set(CMAKE_C_STANDARD 11)
file(GLOB earmark_sources ${CMAKE_CURRENT_SOURCE_DIR}/src/*.c)
add_library(earmark STATIC ${earmark_sources})
target_include_directories(earmark PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/include
                                   PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
if(NOT MSVC)
  target_link_libraries(earmark PUBLIC m)
endif()
add_executable(listen example.c)
target_link_libraries(listen earmark)
"""

EXAMPLE = """/* Events in raw 16-bit mono PCM: ./listen < recording.raw */
#include "earmark/pipeline.h"
#include <stdio.h>
#include <stdlib.h>

extern const em_bundle_t em_bundle;
extern const em_frontend_tables_t em_frontend_tables;
extern const em_model_t em_model;

int main(void) {
    static const char *const phases[] = {"", "start", "update", "end", "once"};
    const size_t bytes = em_pipeline_needed_bytes(&em_bundle, &em_frontend_tables, &em_model);
    void *memory = aligned_alloc(16, (bytes + 15) / 16 * 16);
    em_pipeline_t *pipeline;
    if (memory == NULL || em_pipeline_init(&pipeline, &em_bundle, &em_frontend_tables, &em_model,
                                           memory, bytes) != EM_OK) {
        return 1;
    }
    int16_t pcm[320];
    size_t n;
    while ((n = fread(pcm, sizeof pcm[0], 320, stdin)) > 0) {
        em_event_t event;
        em_pipeline_process(pipeline, pcm, n);
        while (em_pipeline_pop(pipeline, &event)) {
            printf("%8.2f s  %s %s\\n", (double)event.at_us / 1e6,
                   em_bundle.detector.labels[event.label].name, phases[event.phase]);
        }
    }
    free(memory);
    return 0;
}
"""

COMPONENT_CMAKE = """# The model of {version} as an ESP-IDF component.
file(GLOB sources ${{CMAKE_CURRENT_LIST_DIR}}/*.c)
idf_component_register(SRCS ${{sources}} INCLUDE_DIRS . REQUIRES engine frontend nn pipeline)
"""


def export_bundle(bundle: Bundle, out_dir: Path) -> list[str]:
    """Write everything that others need into `out_dir`, replaced as a whole.

    Parameters
    ----------
    bundle : Bundle
    out_dir : Path
        New, or an earlier export.

    Returns
    -------
    list of str
        What was written, one line each, and what could not be.
    """
    if out_dir.exists() and any(out_dir.iterdir()) and not (out_dir / MARKER).is_file():
        raise EarmarkError(f"{out_dir} exists and is no export", "choose another directory")
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
    try:
        scratch.chmod(0o755)
        notes = [
            _models(bundle, scratch / "models"),
            _c_library(bundle, scratch / "c_library"),
            _component(bundle, scratch / "firmware_component" / "earmark_model"),
            _notebook(bundle, scratch / "retrain.ipynb"),
        ]
        title = f"# Export of {bundle.info.name} {bundle.info.model_version}"
        (scratch / MARKER).write_text("\n".join([title, "", *(f"- {n}" for n in notes), ""]))
        if out_dir.exists():
            shutil.rmtree(out_dir)
        scratch.rename(out_dir)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return notes


def _models(bundle: Bundle, directory: Path) -> str:
    directory.mkdir()
    (directory / "model_int8.tflite").write_bytes(bundle.tflite)
    keras_path = bundle.path / KERAS_FILE
    if KERAS_FILE not in bundle.info.files:
        return f"models/model_int8.tflite; no float model: the bundle holds no {KERAS_FILE}"
    import keras
    import tensorflow as tf

    model = keras.models.load_model(keras_path)
    model.export(directory / "saved_model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (directory / "model_float.tflite").write_bytes(converter.convert())
    return "models/: model_int8.tflite, model_float.tflite, saved_model"


def _c_library(bundle: Bundle, directory: Path) -> str:
    root = sources_root()
    include, source = directory / "include" / "earmark", directory / "src"
    include.mkdir(parents=True)
    source.mkdir()
    trees = [root / "dsp" / "c", *(root / "firmware" / "components" / c for c in _COMPONENTS)]
    for tree in trees:
        for header in (tree / "include" / "earmark").glob("*.h"):
            shutil.copyfile(header, include / header.name)
        for path in (tree / "src").iterdir():
            if path.suffix in {".c", ".h"}:
                shutil.copyfile(path, source / path.name)
    for path in bundle.c_dir.iterdir():
        if path.suffix in {".c", ".h"}:
            shutil.copyfile(path, source / path.name)
    for path in (bundle.c_dir / "nn").iterdir():
        if path.suffix in {".c", ".h"}:
            shutil.copyfile(path, source / path.name)
    shutil.copyfile(root / "firmware/components/nn/include/earmark/nn.h", include / "nn.h")
    (directory / "CMakeLists.txt").write_text(CMAKE)
    (directory / "example.c").write_text(EXAMPLE)
    return "c_library/: front end, engine, detector; cmake -B build && cmake --build build"


def _component(bundle: Bundle, directory: Path) -> str:
    directory.mkdir(parents=True)
    for path in bundle.c_dir.iterdir():
        if path.suffix in {".c", ".h"}:
            shutil.copyfile(path, directory / path.name)
    cmake = COMPONENT_CMAKE.format(version=bundle.info.model_version)
    (directory / "CMakeLists.txt").write_text(cmake)
    return "firmware_component/earmark_model: copy into firmware/components"


def _notebook(bundle: Bundle, path: Path) -> str:
    labels, spec_name = ", ".join(bundle.info.class_names), bundle.info.frontend.name
    title = f"# {bundle.info.name} {bundle.info.model_version}"
    what = f"Trains it again. Classes: {labels}. Front end: {spec_name}."
    show = (
        "from pathlib import Path\nfrom IPython.display import HTML\nHTML(Path(PAGE).read_text())"
    )
    cells: list[tuple[str, str]] = [
        ("markdown", f"{title}\n\n{what}"),
        ("code", "!earmark doctor"),
        ("code", f"!earmark train ESC-10 --spec {spec_name} -o build/bundle"),
        ("code", "!earmark calibrate build/bundle\n!earmark report build/bundle -o build/report"),
        ("code", show.replace("PAGE", "'build/report/report.html'")),
    ]
    notebook = {
        "cells": [
            {"cell_type": kind, "id": f"cell-{i}", "metadata": {}, "source": text}
            | ({"execution_count": None, "outputs": []} if kind == "code" else {})
            for i, (kind, text) in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook, indent=1))
    return "retrain.ipynb: trains, calibrates and reports again"
