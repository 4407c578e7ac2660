"""The C of a bundle for others' projects: a library with CMake, and an ESP-IDF component."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from earmark_dsp.sources import sources_root

if TYPE_CHECKING:
    from pathlib import Path

    from earmark_training.deploy.bundle import Bundle

_COMPONENTS = ("detector", "engine", "pipeline")
_C_SUFFIXES = frozenset({".c", ".h"})
# Another engine's; it needs TensorFlow Lite Micro.
_LEFT_OUT = frozenset({"engine_tflm.h"})

LIBRARY_CMAKE = """cmake_minimum_required(VERSION 3.16)
project(earmark_listener C)
file(GLOB earmark_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/*.c)
add_library(earmark STATIC ${earmark_sources})
target_compile_features(earmark PUBLIC c_std_11)
target_include_directories(earmark PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/include
                                   PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
if(NOT MSVC)
  target_link_libraries(earmark PUBLIC m)
endif()
# Only on its own, not as part of another project (add_subdirectory).
if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
  if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
  endif()
  add_executable(listen example.c)
  target_link_libraries(listen earmark)
endif()
"""

EXAMPLE = """/* Events in raw 16-bit mono PCM: ./listen < recording.raw */
#include "earmark/pipeline.h"
#include <stdio.h>
#include <stdlib.h>

extern const em_bundle_t em_bundle;
extern const em_frontend_tables_t em_frontend_tables;
extern const em_model_t em_model;
static const char *const phases[] = {"", "start", "update", "end", "once"};

int main(void) {
    size_t bytes = em_pipeline_needed_bytes(&em_bundle, &em_frontend_tables, &em_model);
    void *memory = malloc(bytes); /* once; nothing allocates later */
    em_pipeline_t *pipeline;
    if (memory == NULL || em_pipeline_init(&pipeline, &em_bundle, &em_frontend_tables, &em_model,
                                           memory, bytes) != EM_OK) {
        return 1;
    }
    int16_t pcm[320];
    size_t n;
    while ((n = fread(pcm, sizeof pcm[0], 320, stdin)) > 0) {
        em_pipeline_process(pipeline, pcm, n);
        em_event_t event;
        while (em_pipeline_pop(pipeline, &event)) {
            printf("%8.2f s  %s %s\\n", (double)event.at_us / 1e6,
                   em_bundle.detector.labels[event.label].name, phases[event.phase]);
        }
    }
    free(memory);
    return 0;
}
"""

COMPONENT_CMAKE = """# {name} {version}: front end, engine, detector and model in one.
set(here ${{CMAKE_CURRENT_LIST_DIR}})
file(GLOB sources "${{here}}/src/*.c" "${{here}}/model/*.c")
if(CONFIG_IDF_TARGET_ESP32)
    # The LX6's multiply-accumulate unit (MAC16).
    file(GLOB mac16 "${{here}}/xtensa/*.c" "${{here}}/xtensa/*.S")
    list(APPEND sources ${{mac16}})
endif()
idf_component_register(SRCS ${{sources}} INCLUDE_DIRS include PRIV_INCLUDE_DIRS src model xtensa)
if(CONFIG_IDF_TARGET_ESP32)
    target_compile_definitions(${{COMPONENT_LIB}} PUBLIC EM_NN_MAC16)
endif()
target_compile_options(${{COMPONENT_LIB}} PRIVATE -O2)
"""

MANIFEST = """version: "{version}"
description: "{name}: sound events from 16-bit PCM at {rate_hz} Hz; labels only"
license: Apache-2.0
"""

README = """# {name} {version}

An ESP-IDF component: copy this folder into `components/` of any project and add `earmark` to
`REQUIRES`. `em_pipeline_process` takes 16-bit PCM at {rate_hz} Hz, `em_pipeline_pop` gives events;
`../../c_library/example.c` shows all of it. Labels: {labels}.

Earmark's own firmware takes the model alone:

    idf.py -DEARMARK_MODEL_DIR=/path/to/firmware_component/earmark/model build
"""


def write_library(bundle: Bundle, directory: Path) -> str:
    """Write front end, engine, detector and model as a library with CMake file and example."""
    _sources(directory / "include", directory / "src")
    _copy(bundle.c_dir, directory / "src")
    (directory / "CMakeLists.txt").write_text(LIBRARY_CMAKE)
    (directory / "example.c").write_text(EXAMPLE)
    return "c_library: front end, engine, detector; cmake -B build && cmake --build build"


def write_component(bundle: Bundle, directory: Path) -> str:
    """Write the same as one self-contained ESP-IDF component, with the LX6's kernels."""
    _sources(directory / "include", directory / "src")
    _copy(bundle.c_dir, directory / "model")
    _copy(_firmware("nn") / "xtensa", directory / "xtensa", everything=True)
    values = {
        "name": bundle.info.name,
        "version": bundle.info.model_version,
        "rate_hz": bundle.spec.sample_rate_hz,
        "labels": ", ".join(label.name for label in bundle.params.labels if label.reported),
    }
    (directory / "CMakeLists.txt").write_text(COMPONENT_CMAKE.format(**values))
    manifest = MANIFEST.format(**{**values, "version": bundle.info.version})
    (directory / "idf_component.yml").write_text(manifest)
    (directory / "README.md").write_text(README.format(**values))
    return "firmware_component/earmark: a component for ESP-IDF projects, or its model/ for ours"


def _firmware(component: str) -> Path:
    return sources_root() / "firmware" / "components" / component


def _sources(include: Path, source: Path) -> None:
    """Collect headers and sources of everything but the model."""
    trees = [sources_root() / "dsp" / "c", *map(_firmware, (*_COMPONENTS, "nn"))]
    for tree in trees:
        _copy(tree / "include" / "earmark", include / "earmark")
        _copy(tree / "src", source)


def _copy(origin: Path, target: Path, *, everything: bool = False) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(origin.iterdir()):
        wanted = path.is_file() and path.name not in _LEFT_OUT
        if wanted and (everything or path.suffix in _C_SUFFIXES):
            shutil.copyfile(path, target / path.name)
