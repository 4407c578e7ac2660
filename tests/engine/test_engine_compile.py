"""`compile_model` from outside: refusals, output directory, golden self-test, bigger networks."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from earmark_dsp.errors import EarmarkError
from earmark_training.cli import main
from earmark_training.deploy.compile import compile_for_tflm, compile_model, load, plan_model
from earmark_training.deploy.golden import random_inputs
from earmark_training.deploy.hostlib import HostModel
from earmark_training.deploy.tflite import Op, builtin_name, parse_model
from earmark_training.tflm import TflmModel, minimal_arena_bytes
from sanitized import COMPONENTS, INCLUDES, compiler
from tflite_writer import FLOAT32, OPS, Network, schema

if TYPE_CHECKING:
    from pathlib import Path


def residual_network(*, channels: int = 8, size: int = 64) -> bytes:
    """Conv, three residual blocks with branches of different depth, pooling, dense, softmax."""
    net, rng = Network(), np.random.default_rng(3)

    def conv(x: int, out_c: int, k: int, stride: int, *, depthwise: bool = False) -> int:
        n, h, w, c = net.shape(x)
        shape = (1, k, k, c) if depthwise else (out_c, k, k, c)
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        scales = list(rng.uniform(0.001, 0.004, c if depthwise else out_c))
        f = net.tensor(shape, scales, data=weights, axis=3 if depthwise else 0)
        bias = rng.integers(-3000, 3000, len(scales)).astype(np.int32)
        b = net.tensor((len(scales),), data=bias)
        y = net.tensor((n, -(-h // stride), -(-w // stride), len(scales)), 0.05, int(-20 + k))
        o = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        o.padding, o.strideH, o.strideW = 0, stride, stride
        o.dilationHFactor = o.dilationWFactor = 1
        o.fusedActivationFunction = 1
        if depthwise:
            o.depthMultiplier = 1
        net.op(OPS.DEPTHWISE_CONV_2D if depthwise else OPS.CONV_2D, [x, f, b], [y], o)
        return y

    def add(a: int, b: int) -> int:
        y = net.tensor(net.shape(a), 0.07, -3)
        net.op(OPS.ADD, [a, b], [y], schema.AddOptionsT())
        return y

    x = net.tensor((1, size, size, 3), 0.05, 3)
    net.inputs = [x]
    x = conv(x, channels, 3, 2)
    for k in (3, 5, 3):
        branch = conv(conv(x, channels, k, 1, depthwise=True), channels, 1, 1)
        x = add(x, branch)
    x = conv(x, 2 * channels, 3, 2)
    n, _h, _w, c = net.shape(x)
    mean = net.tensor((n, c), 0.02, -100)
    net.op(
        OPS.MEAN, [x, net.constant(np.array([1, 2], np.int32))], [mean], schema.ReducerOptionsT()
    )
    weights = rng.integers(-127, 128, (5, c)).astype(np.int8)
    logits = net.tensor((1, 5), 0.1, 0)
    f = net.tensor((5, c), 0.01, data=weights)
    net.op(OPS.FULLY_CONNECTED, [mean, f], [logits], schema.FullyConnectedOptionsT())
    scores = net.tensor((1, 5), 1 / 256, -128)
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    net.op(OPS.SOFTMAX, [logits], [scores], softmax)
    net.outputs = [scores]
    return net.build()


@pytest.fixture(scope="module")
def network() -> bytes:
    return residual_network()


def one_operator(code: int, n_outputs: int = 1) -> bytes:
    net = Network()
    x = net.tensor((1, 4), 0.1)
    net.inputs = [x]
    relu = net.tensor((1, 4), 0.1)
    net.op(OPS.RELU, [x], [relu])
    outputs = [net.tensor((1, 4), 0.1) for _ in range(n_outputs)]
    net.op(code, [relu], outputs)
    net.outputs = outputs
    return net.build()


@pytest.mark.parametrize("ram_limit", [None, 0])
def test_residual_network_equals_tflm(
    network: bytes, tmp_path: Path, ram_limit: int | None
) -> None:
    compile_model(network, tmp_path / "c", ram_limit=ram_limit)
    engine, oracle = HostModel(tmp_path / "c"), TflmModel(network)
    rng = np.random.default_rng(0)
    batch = np.stack([random_inputs(oracle.model, rng)[0][0] for _ in range(8)])
    np.testing.assert_array_equal(engine.invoke(batch), oracle.invoke(batch))


def test_row_bands_need_less_ram_and_keep_their_promise(network: bytes) -> None:
    model = load(network)
    whole, small = plan_model(model), plan_model(model, ram_limit=0)
    assert small.n_streamed > 0
    scratch = max(s.block_bytes for s in whole.scratch.values())
    assert small.arena_bytes - scratch < 0.6 * (whole.arena_bytes - scratch)
    limit = (small.arena_bytes + whole.arena_bytes) // 2 + small.io_bytes
    between = plan_model(model, ram_limit=limit)
    assert between.arena_bytes + between.io_bytes <= limit
    assert 0 < between.n_streamed <= small.n_streamed
    impossible = small.arena_bytes + small.io_bytes - 1
    with pytest.raises(EarmarkError, match=f"at least {small.arena_bytes + small.io_bytes:,}"):
        plan_model(model, ram_limit=impossible)


def test_row_band_steps_cover_every_row_once(network: bytes) -> None:
    program = plan_model(load(network), ram_limit=0)
    done = [0] * len(program.layers)
    for step in program.steps:
        assert step.y == done[step.layer]
        assert step.y_end > step.y
        done[step.layer] = step.y_end
    for rows, layer in zip(done, program.layers, strict=True):
        height = layer.rows.out_rows if layer.rows else program.storage[layer.output].rows or 1
        assert rows == height


def test_unknown_operator_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match=r"operator 1 \(TANH\)") as caught:
        compile_model(one_operator(OPS.TANH), tmp_path / "c")
    assert "TFLM engine" in caught.value.hint
    assert not (tmp_path / "c").exists()


def test_unknown_operator_can_still_use_tflm(tmp_path: Path) -> None:
    compile_for_tflm(one_operator(OPS.RELU), tmp_path / "c", "net")
    text = (tmp_path / "c" / "net_tflm.cc").read_text()
    assert "MicroMutableOpResolver<1>" in text
    assert re.findall(r"resolver->(\w+)\(", text) == ["AddRelu"]


def test_names_of_operators_match_the_schema() -> None:
    names = {v: k for k, v in vars(OPS).items() if isinstance(v, int)}
    for number, name in names.items():
        known = Op(number).name if number in set(Op) else builtin_name(number)
        assert known in (name, f"builtin operator {number}")


@pytest.mark.parametrize("n_bytes", [0, 3, 7, 8, 40, -1])
def test_truncated_file_is_one_error(network: bytes, n_bytes: int, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError) as caught:
        compile_model(network[:n_bytes], tmp_path / "c")
    assert caught.value.what
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: n.tensors[0].shape.__setitem__(1, -1), "impossible shape"),
        (lambda n: n.tensors[0].shape.__setitem__(1, 1 << 30), "impossible shape"),
        (lambda n: n.operators[0].inputs.__setitem__(0, 999), "not one of"),
        (lambda n: n.operators[0].inputs.__setitem__(0, n.outputs[0]), "before it is written"),
        (lambda n: n.tensors[0].quantization.scale.__setitem__(0, float("nan")), "scale"),
        (lambda n: n.tensors[0].quantization.zeroPoint.__setitem__(0, 300), "scale"),
    ],
)
def test_inconsistent_model_is_refused(change: object, message: str) -> None:
    net = Network()
    x = net.tensor((1, 4), 0.1)
    y = net.tensor((1, 4), 0.1)
    net.inputs, net.outputs = [x], [y]
    net.op(OPS.RELU, [x], [y])
    parse_model(net.build())
    change(net)
    with pytest.raises(EarmarkError, match=message):
        plan_model(parse_model(net.build()))


def test_reader_agrees_with_the_schema_classes(network: bytes) -> None:
    model = parse_model(network)
    reference = schema.ModelT.InitFromObj(schema.Model.GetRootAs(network))
    graph = reference.subgraphs[0]
    assert [t.shape for t in model.tensors] == [tuple(t.shape) for t in graph.tensors]
    assert [t.name for t in model.tensors] == [t.name.decode() for t in graph.tensors]
    assert [list(o.inputs) for o in model.operators] == [list(o.inputs) for o in graph.operators]
    for mine, theirs in zip(model.tensors, graph.tensors, strict=True):
        data = reference.buffers[theirs.buffer].data
        assert (mine.data is None) == (data is None)
        if data is not None:
            assert mine.data.tobytes() == bytes(bytearray(data))
        if theirs.quantization is not None and theirs.quantization.scale is not None:
            np.testing.assert_array_equal(
                mine.quantisation.scale, np.array(theirs.quantization.scale, np.float32)
            )


def test_foreign_directory_is_not_overwritten(network: bytes, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    with pytest.raises(EarmarkError, match="was not written by"):
        compile_model(network, tmp_path / "thesis", golden=False)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"
    compile_model(network, tmp_path / "c", golden=False)
    compile_model(network, tmp_path / "c", golden=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "thesis"]


def test_generated_text_is_reproducible_and_has_no_mutable_state(
    network: bytes, tmp_path: Path
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for directory in (first, second):
        compile_model(network, directory, ram_limit=0)
    for path in first.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()
    objects = tmp_path / "model.o"
    command = [compiler(), "-std=c11", "-O1", "-c", *INCLUDES, str(first / "model.c")]
    subprocess.run([*command, "-o", str(objects)], check=True)
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm not installed (binutils)")
    symbols = subprocess.run([nm, str(objects)], check=True, capture_output=True, text=True).stdout
    # Pointers in const tables show as d (written by relocation only); b and C would be state.
    assert not [s for s in symbols.splitlines() if re.search(r" [bBC] ", s)]
    assert "malloc" not in symbols


def test_golden_self_test_detects_a_changed_weight(network: bytes, tmp_path: Path) -> None:
    compile_model(network, tmp_path / "c", "net")
    main_c = tmp_path / "main.c"
    main_c.write_text(
        '#include "earmark/engine.h"\n#include "net.h"\n#include <stdlib.h>\n'
        "int main(void) {\n    static uint8_t scratch[64];\n    em_engine_t e;\n"
        "    void *arena = aligned_alloc(16, em_net.arena_bytes);\n"
        "    const size_t n = em_net.arena_bytes;\n"
        "    if (em_engine_init(&e, &em_net, arena, n - 1) != EM_ERR_SIZE) return 90;\n"
        "    if (em_engine_init(&e, &em_net, arena, n) != EM_OK) return 91;\n"
        "    if (em_engine_self_test(&e, scratch, 4) != EM_ERR_SIZE) return 92;\n"
        "    return (int)em_engine_self_test(&e, scratch, sizeof scratch);\n}\n"
    )
    engine = [COMPONENTS / "engine" / "src" / f"{n}.c" for n in ("engine", "engine_self_test")]

    def run() -> int:
        sources = [*(tmp_path / "c").glob("*.c"), *(tmp_path / "c" / "nn").glob("*.c")]
        command = [
            compiler(), "-std=c11", "-O1", *INCLUDES, "-I", str(tmp_path / "c"), str(main_c),
            *map(str, [*sources, *engine]), "-o", str(tmp_path / "run"),
        ]  # fmt: skip
        subprocess.run(command, check=True)
        return subprocess.run([tmp_path / "run"], check=False).returncode

    assert run() == 0
    weights = tmp_path / "c" / "net_weights.c"
    text = weights.read_text()
    at = text.index("{", text.index("net_channels_00[")) + 5
    weights.write_text(text[:at] + "{100000" + text[text.index(",", at) :])
    em_err_self_test = 8
    assert run() == em_err_self_test


def test_equal_tables_are_stored_once(tmp_path: Path) -> None:
    net = Network()
    x = net.tensor((1, 6), 0.1, 3)
    net.inputs = [x]
    for _ in range(3):
        y = net.tensor((1, 6), 0.1, 3)
        net.op(OPS.LEAKY_RELU, [x], [y], _leaky(0.25))
        x = y
    net.outputs = [x]
    compiled = compile_model(net.build(), tmp_path / "c", golden=False)
    assert [name for name, _ in compiled.tables.items] == ["lookup_00"]
    assert compiled.program.arena_bytes == 16  # in place


def _leaky(alpha: float) -> object:
    o = schema.LeakyReluOptionsT()
    o.alpha = alpha
    return o


def test_float_borders_saturate(tmp_path: Path) -> None:
    net = Network()
    x = net.tensor((1, 8), dtype=FLOAT32)
    q = net.tensor((1, 8), 0.1, 5)
    net.inputs, net.outputs = [x], [q]
    net.op(OPS.QUANTIZE, [x], [q], schema.QuantizeOptionsT())
    compile_model(net.build(), tmp_path / "c")
    values = np.array([1e30, -1e30, np.inf, -np.inf, np.nan, 0.05, -0.05, 0.149], np.float32)
    got = HostModel(tmp_path / "c").invoke_many([values])[0].ravel()
    assert got.tolist() == [127, -128, 127, -128, 5, 6, 4, 6]


def test_softmax_over_many_equal_classes_is_defined(tmp_path: Path) -> None:
    net = Network()
    x, y = net.tensor((1, 1000), 0.1), net.tensor((1, 1000), 1 / 256, -128)
    net.inputs, net.outputs = [x], [y]
    o = schema.SoftmaxOptionsT()
    o.beta = 1.0
    net.op(OPS.SOFTMAX, [x], [y], o)
    compile_model(net.build(), tmp_path / "c", golden=False)
    engine = HostModel(
        tmp_path / "c", flags=["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    )
    equal = np.zeros((1, 1000), np.int8)
    assert (engine.invoke_many([equal])[0] == -128).all()
    equal[0, 7] = 127
    assert engine.invoke_many([equal])[0][0, 7] == 127


def test_command_line(network: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(network)
    with pytest.raises(SystemExit) as caught:
        main(["compile", str(path), "-o", str(tmp_path / "c"), "--ram-limit", "100"])
    assert caught.value.code == 1
    assert "at least" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["compile", str(path), "-o", str(tmp_path / "c"), "--ram-limit", "0"])
    assert caught.value.code == 0
    assert "row bands" in capsys.readouterr().out
    assert (tmp_path / "c" / "model_arena.svg").read_text().startswith("<svg")


def test_arena_of_tflm_is_found_by_bisection(network: bytes) -> None:
    oracle = TflmModel(network)
    smallest = minimal_arena_bytes(oracle.model)
    assert oracle.arena_used_bytes <= smallest + 1024
    assert smallest < 4 * oracle.arena_used_bytes
