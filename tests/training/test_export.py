"""Every kind of export is used the way its receiver would use it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from earmark_dsp.errors import EarmarkError
from earmark_training.cli import main
from earmark_training.deploy import bundle_training as kept
from earmark_training.deploy import emulator
from earmark_training.deploy.export import export_bundle
from earmark_training.deploy.export_c import EXAMPLE
from earmark_training.deploy.lx6_toolchain import Unit
from earmark_training.quantisation_remedies import scores_of
from earmark_training.tflm import TflmModel
from tools import require_tool

sys.path.insert(0, str(Path(__file__).parent))

import bundle_kit

STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror")
# What ESP-IDF's function does, as far as a workstation's compiler needs it.
IDF_STUB = """cmake_minimum_required(VERSION 3.16)
project(stub C)
function(idf_component_register)
  cmake_parse_arguments(A "" "" "SRCS;INCLUDE_DIRS;PRIV_INCLUDE_DIRS;REQUIRES" ${ARGN})
  add_library(component STATIC ${A_SRCS})
  foreach(dir ${A_INCLUDE_DIRS} ${A_PRIV_INCLUDE_DIRS})
    target_include_directories(component PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/${dir})
  endforeach()
  set(COMPONENT_LIB component PARENT_SCOPE)
endfunction()
add_subdirectory(component)
add_executable(listen example.c)
target_link_libraries(listen component m)
"""


@pytest.fixture(scope="module")
def hears(tmp_path_factory):
    """Export of a bundle that knows sounds, without a training."""
    folder = tmp_path_factory.mktemp("hears")
    bundle = bundle_kit.make_bundle(folder / "bundle")
    notes = export_bundle(bundle, folder / "export")
    assert any("no float network" in note for note in notes)
    return bundle, folder / "export"


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """Export of a trained bundle, by the command: (bundle, folder, TrainResult)."""
    out = tmp_path_factory.mktemp("exported") / "export"
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(trained[0].path), "-o", str(out)])
    assert stopped.value.code == 0
    return trained[0], out, trained[2]


def cmake(source, build, *options):
    tool = require_tool("cmake")
    for command in (
        [tool, "-S", source, "-B", build, *options],
        [tool, "--build", build, "--parallel", "2"],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def heard(program):
    pcm, _ = bundle_kit.evening()
    out = subprocess.run([program], input=pcm.tobytes(), capture_output=True, check=True)
    return [line.split()[2:] for line in out.stdout.decode().splitlines()]


EXPECTED = [["hum", "start"], ["hum", "end"], ["smoke_alarm", "start"]]


def test_the_c_library_builds_with_its_cmake_file_and_hears(hears, tmp_path):
    # Moved away: nothing of the checkout may be needed.
    shutil.copytree(hears[1] / "c_library", tmp_path / "lib")
    cmake(tmp_path / "lib", tmp_path / "build", f"-DCMAKE_C_FLAGS={' '.join(STRICT)}")
    assert heard(tmp_path / "build" / "listen")[:3] == EXPECTED
    assert len(EXAMPLE.splitlines()) <= 40


def test_the_c_library_is_part_of_another_project(hears, tmp_path):
    """add_subdirectory, from C++ as well, without the example."""
    shutil.copytree(hears[1] / "c_library", tmp_path / "earmark")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(app C CXX)\nadd_subdirectory(earmark)\n"
        "add_executable(app main.cc)\ntarget_link_libraries(app earmark)\n"
    )
    (tmp_path / "main.cc").write_text(
        '#include "earmark/pipeline.h"\nextern "C" const em_bundle_t em_bundle;\n'
        "int main() { return em_bundle.detector.n_labels == 4 ? 0 : 1; }\n"
    )
    cmake(tmp_path, tmp_path / "build")
    assert subprocess.run([tmp_path / "build" / "app"], check=False).returncode == 0
    assert not list((tmp_path / "build").rglob("listen"))


def test_the_component_builds_where_esp_idf_would_include_it(hears, tmp_path):
    shutil.copytree(hears[1] / "firmware_component" / "earmark", tmp_path / "component")
    (tmp_path / "CMakeLists.txt").write_text(IDF_STUB)
    (tmp_path / "example.c").write_text(EXAMPLE)
    cmake(tmp_path, tmp_path / "build")
    assert heard(tmp_path / "build" / "listen")[:3] == EXPECTED


def test_the_component_runs_on_the_lx6_with_mac16(exported, tmp_path):
    """Its own sources and assembly, linked and executed: the integers of TFLM."""
    require_tool("qemu-system-xtensa")
    require_tool("clang-22")
    bundle, export, _ = exported
    component = export / "firmware_component" / "earmark"
    flags = (
        "-DEM_NN_MAC16",
        *(f"-I{component / d}" for d in ("include", "src", "model", "xtensa")),
    )
    paths = [p for d in ("src", "xtensa") for p in sorted((component / d).iterdir())]
    units = [
        Unit(p, flags) for p in paths if p.name.startswith(("nn_", "mac16_")) and p.suffix in ".c.S"
    ]
    units += [Unit(p, flags) for p in sorted((component / "model").glob("model*.c"))]
    driver = emulator.sources_root() / "firmware/emulator/programs/run_model.c"
    units.append(Unit(driver, (*flags, "-DEM_MODEL=em_model")))
    program = emulator.build(units, tmp_path / "model.elf")
    window = np.random.default_rng(0).integers(-128, 128, (1, 50, 64)).astype(np.int8)
    done = emulator.run(program, {"inputs.bin": window.tobytes()})
    assert done.status == 0
    scores = np.frombuffer(done.files["outputs.bin"], np.int8)
    expected = TflmModel(bundle.tflite).invoke(window).ravel()
    np.testing.assert_array_equal(scores[: len(expected)], expected)


def test_float_models_are_the_keras_model(exported):
    import tensorflow as tf

    bundle, export, result = exported
    models = export / "models"
    windows = np.random.default_rng(0).integers(-128, 128, (3, 50, 64)).astype(np.int8)
    real = (windows.astype(np.float32) + 128) * np.float32(bundle.spec.output_scale)
    expected = np.asarray(result.model(real))
    saved = tf.saved_model.load(models / "saved_model")
    served = saved.serve(real)
    np.testing.assert_allclose(np.asarray(served), expected, atol=1e-5)
    by_tflite = scores_of((models / "model_float.tflite").read_bytes(), windows, bundle.spec)
    np.testing.assert_allclose(by_tflite, expected, atol=1e-4)
    assert (models / "model_int8.tflite").read_bytes() == bundle.tflite
    credits_file = (export / kept.CREDITS_FILE).read_bytes()
    assert credits_file == (bundle.path / kept.CREDITS_FILE).read_bytes()
    assert "CC-BY-4.0" in (export / "EARMARK_EXPORT.md").read_text()


def test_the_notebook_trains_the_same_network_again(exported, tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="pip install 'earmark[dev]'")
    nbclient = pytest.importorskip("nbclient", reason="pip install 'earmark[dev]'")
    bundle, export, _ = exported
    shutil.copytree(export / "notebook", tmp_path / "notebook")
    notebook = nbformat.read(tmp_path / "notebook" / "retrain.ipynb", as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        startup_timeout=300,
        resources={"metadata": {"path": str(tmp_path / "notebook")}},
    )
    client.execute()
    outputs = json.dumps(notebook.cells)
    assert "int8 in C" in outputs
    assert outputs.count("image/png") == 2
    # The same recipe, data and seed: the same bytes.
    again = tmp_path / "notebook" / "build" / "retrained" / "model.tflite"
    assert again.read_bytes() == bundle.tflite


def test_other_folders_are_not_overwritten(hears, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(EarmarkError, match="no export"):
        export_bundle(hears[0], tmp_path)
    export_bundle(hears[0], hears[1])
    assert (hears[1] / "c_library" / "example.c").is_file()
