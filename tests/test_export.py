"""A generator in a file samples without this package, and samples the same."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from command_line import TINY, rgan
from rgan.errors import RganError
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.sequences import Sequences, Static
from rgan.transforms.config import TransformConfig
from rgan.transforms.packed import Packed
from rgan.transforms.tensors import Decoder
from rgan.workflow.encoder import Encoder
from rgan.workflow.export import CHECKED, export
from rgan.workflow.exporting import formats, parity
from rgan.workflow.exporting.about import describe
from rgan.workflow.exporting.module import Sampler
from rgan.workflow.exporting.parity import Runner, onnx_runner, same_noise, torch_runner
from rgan.workflow.sampling import load_trained
from rgan.workflow.trained import Trained

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

ROOT = Path(__file__).parents[1]
FEW = (*TINY, "--set", "train.steps=3", "--set", "train.figures=0", "--quiet")
SUBJECT = "patient-7719"


def table(path: Path) -> Path:
    """Series of 3 to 9 steps with gaps in one of two features, statics, and a continuous label."""
    rng = np.random.default_rng(4)
    lines = ["id,time,rate,level,age,ward,outcome"]
    for i in range(40):
        age = "" if i % 7 == 0 else f"{rng.normal(60, 9):.1f}"
        for t in range(3 + i % 7):
            level = "" if rng.random() < 0.3 else f"{rng.normal(5, 2):.3f}"
            ward, label = "ABC"[i % 3], f"{rng.normal(i, 0.1):.4f}" if t == 0 else ""
            label = label or lines[-1].split(",")[-1]
            lines.append(f"{SUBJECT}-{i},{t},{rng.normal(80, 9):.0f},{level},{age},{ward},{label}")
    path.write_text("\n".join(lines) + "\n")
    return path


def words_of(kind: str, folder: Path) -> tuple[object, ...]:
    """What to train for a case."""
    few = ("--max-sequences", 60, "--batch-size", 16)
    if kind == "paper-gru":
        return ("sines", "--preset", "paper", "--set", "generator.cell=gru", *few)
    if kind == "digits":
        return ("digits", "--model", "rcgan", *few)
    if kind == "icu":
        return ("icu", *few)
    if kind == "gru":
        deep = ("--set", "generator.layers=2", "--set", "generator.convs_before=1")
        scale = ("--set", "transform.scale=minmax", "--set", "transform.clip=false")
        return ("gp", "--set", "generator.cell=gru", *deep, *scale, *few)
    columns = ("--id", "id", "--time", "time", "--label", "outcome", "--static", "age")
    folds = ("--set", "generator.compress=4", "--set", "transform.scale=local-max,differences")
    return (table(folder / "vitals.csv"), *columns, "--static", "ward", *folds, "--batch-size", 8)


CASES = ("paper-gru", "digits", "icu", "gru", "table")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of a few steps for each case."""
    made = {}
    for kind in CASES:
        folder = tmp_path_factory.mktemp(kind)
        answer = rgan("train", *words_of(kind, folder), *FEW, "--runs", folder / "runs")
        assert answer.code == 0, answer.err
        made[kind] = Run.open(next((folder / "runs").iterdir()))
    return made


class Files:
    """Both files of one model, from one export."""

    def __init__(self, run: Run) -> None:
        self.trained, _ = load_trained(run)
        self.sampler = Sampler(self.trained).eval()
        packer = self.trained.encoder.packer
        self.about = describe(self.sampler, packer, run=run.id, step=3, averaged=True)
        example = same_noise(self.sampler, self.trained, 3, seed=0)
        tensors = {name: torch.from_numpy(array) for name, array in example.items()}
        program = formats.export_program(self.sampler, tensors)
        self.onnx = formats.to_onnx(program, self.sampler, self.about)
        self.torch = formats.to_torch(program, self.about)

    def runner(self, to: str) -> Runner:
        """Runs one of them."""
        made = torch_runner(self.torch) if to == "torch" else onnx_runner(self.onnx)
        assert made is not None
        return made


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, runs: dict[str, Run]) -> Iterator[tuple[str, Files]]:
    yield request.param, Files(runs[request.param])


# -- the same numbers --------------------------------------------------------------------------


def test_both_files_sample_what_rgan_sample_samples(case: tuple[str, Files]) -> None:
    kind, files = case
    for to in ("onnx", "torch"):
        run = files.runner(to)
        found = parity.check(run, files.sampler, files.trained, CHECKED)
        assert found.sequences == sum(CHECKED)
        made = run(same_noise(files.sampler, files.trained, 200, seed=9))
        real = files.trained.sample(200, seed=9)
        # No tolerance in how the file says what is there at all.
        assert (made["observed"] == real.observed).mean() > 0.9999
        assert (np.isnan(made["values"]) == ~made["observed"]).all()
        assert made["values"].dtype == np.float32
        assert (made["lengths_out"] == real.lengths).all()
        close = np.isclose(made["values"], real.values, rtol=1e-4, atol=1e-3, equal_nan=True)
        assert close.mean() > 0.999
        assert ("static" in made) == (real.static is not None)
        if real.static is not None:
            assert made["static"].shape == real.static.shape
    expected = {
        "paper-gru": {"lengths", "noise_step"},
        "digits": {"lengths", "label", "noise_global", "noise_step"},
        "gru": {"lengths", "noise_global", "noise_step"},
    }
    everything = {*expected["digits"], "mask_uniform", "static_uniform"}
    assert files.about["inputs"].keys() == expected.get(kind, everything)


def test_an_onnx_file_is_whole_and_speaks_of_no_machine(case: tuple[str, Files]) -> None:
    _, files = case
    model = onnx.load_from_string(files.onnx)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", formats.OPSET)]
    assert not any(t.external_data for t in model.graph.initializer)
    config = files.trained.generator.config
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count(config.cell.upper()) == config.layers  # whole, not step by step
    assert len(kinds) < 300
    shapes = [port.type.tensor_type.shape.dim for port in (*model.graph.input, *model.graph.output)]
    assert {shape[0].dim_param for shape in shapes} == {"N"}
    archive = zipfile.ZipFile(io.BytesIO(files.torch))
    for content in (files.onnx, *(archive.read(name) for name in archive.namelist())):
        for word in (b"site-packages", b".py", str(ROOT).encode(), SUBJECT.encode(), b"vitals.csv"):
            assert word not in content


def test_the_description_is_enough_to_draw_from(case: tuple[str, Files]) -> None:
    kind, files = case
    session = ort.InferenceSession(files.onnx)
    about = json.loads(session.get_modelmeta().custom_metadata_map["rgan"])
    extra = {"rgan.json": ""}
    torch.export.load(io.BytesIO(files.torch), extra_files=extra)
    assert about == files.about == json.loads(extra["rgan.json"])
    assert [i.name for i in session.get_inputs()] == list(about["inputs"])
    assert [o.name for o in session.get_outputs()] == list(about["outputs"])
    for port in (*session.get_inputs(), *session.get_outputs()):
        told = (about["inputs"] | about["outputs"])[port.name]
        assert port.shape == told["shape"]
        types = {"float32": "float", "float64": "double"}
        assert port.type == f"tensor({types.get(told['dtype'], told['dtype'])})"
    packer = files.trained.encoder.packer
    assert about["features"] == list(packer.feature_names)
    for shares in [t["shares"] for t in about["lengths"]] + [about["label"].get("shares", [1.0])]:
        assert sum(shares) == pytest.approx(1.0)
    if kind == "icu":
        real = files.trained.sample(3)
        assert [s["name"] for s in about["static"]] == [s.name for s in real.static_info]
        assert len(about["lengths"]) == len(about["label"]["classes"]) == 2
    if kind == "table":  # what transforms have added is gone
        assert [s["name"] for s in about["static"]] == ["age", "ward"]
        assert about["static"][1]["levels"] == ["A", "B", "C"]
        assert about["label"]["kind"] == "continuous"
        assert max(about["lengths"][0]["lengths"]) == 9


def test_what_cannot_be_asked_stops_the_runtime(case: tuple[str, Files]) -> None:
    _, files = case
    good = same_noise(files.sampler, files.trained, 4, seed=1)
    wrong = [("lengths", 0), ("lengths", files.about["steps"] + 1), ("lengths", -1)]
    if files.about["label"]["kind"] == "classes":
        wrong += [("label", len(files.about["label"]["classes"])), ("label", -1)]
    for to in ("onnx", "torch"):
        run = files.runner(to)
        for name, value in wrong:
            array = good[name].copy()
            array[2] = value
            with pytest.raises(Exception, match=r"(?i)index|indices|out of"):
                run({**good, name: array})


def test_the_documented_lines_sample_with_numpy_and_onnxruntime_alone(
    case: tuple[str, Files], tmp_path: Path
) -> None:
    kind, files = case
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(), flags=re.S)
    snippet = blocks[0]
    assert len(snippet.splitlines()) < 25
    (tmp_path / "generator.onnx").write_bytes(files.onnx)
    check = (
        "\nimport sys\n"
        "assert not {'rgan', 'torch', 'onnx'} & set(sys.modules), sys.modules.keys()\n"
        "np.savez('made.npz', label=feed.get('label', 0), lengths=feed['lengths'], **made)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet + check],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    made = np.load(tmp_path / "made.npz")
    real = files.trained.sample(1000, seed=5)
    assert made["values"].shape == real.values.shape
    spread = np.nanstd(real.values, axis=(0, 1))
    far = np.nanmean(made["values"], axis=(0, 1)) - np.nanmean(real.values, axis=(0, 1))
    assert (np.abs(far) <= 0.2 * spread + 1e-3).all()
    assert made["observed"].mean() == pytest.approx(real.observed.mean(), abs=0.03)
    assert made["lengths"].mean() == pytest.approx(real.lengths.mean(), rel=0.05)
    if kind == "icu":
        died = np.mean(real.labels == np.max(real.labels))
        assert made["label"].mean() == pytest.approx(died, abs=0.06)
    if kind == "table":
        assert np.ptp(made["label"]) == pytest.approx(np.ptp(real.labels), rel=0.1)


# -- every transform ---------------------------------------------------------------------------

SCALES = (
    *(("zscore",), ("minmax",), ("symmetric",), ("local-max",), ("differences",), ("none",)),
    *(("differences", "zscore"), ("local-max", "differences"), ("differences", "local-max")),
)


def sequences(n: int = 50) -> Sequences:
    """Gaps, lengths, and each kind of static attribute, with and without missing ones."""
    rng = np.random.default_rng(0)
    values = np.stack(
        [rng.normal(1e5, 3, (n, 6)), rng.integers(0, 9, (n, 6)), rng.normal(0, 1, (n, 6)).round(2)],
        axis=2,
    )
    observed = np.ones(values.shape, bool)
    observed[:, :, 1] = rng.random((n, 6)) < 0.7
    info = [
        Static("age"),
        Static("sex", "binary", ("f", "m")),
        Static("ward", "categorical", ("A", "B", "C")),
    ]
    info += [Static(f"{s.name} or not", s.kind, s.levels) for s in info]
    static = np.stack(
        [rng.normal(60, 9, n).round(1), rng.integers(0, 2, n), rng.integers(0, 3, n)], 1
    )
    static = np.concatenate([static, np.where(rng.random((n, 3)) < 0.3, np.nan, static)], axis=1)
    return Sequences(
        *(values, observed, rng.integers(2, 7, n)), static=static, static_info=tuple(info)
    )


class Decoders(nn.Module):
    """Several at once, as following a network for ONNX takes seconds."""

    def __init__(self, decoders: list[Decoder]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(decoders)

    def forward(self, given: list[tuple[Tensor, Tensor, Tensor]]) -> list[Tensor]:
        out = []
        for part, arrays in zip(self.parts, given, strict=True):
            values_NTF, observed_NTF, static_NA = part(*arrays)
            assert static_NA is not None
            out += [values_NTF, observed_NTF, static_NA]
        return out


def test_every_transform_is_undone_as_decode_does_it() -> None:
    data = sequences()
    encoders = [
        Encoder.fit(data, TransformConfig(scale=scale, clip=limits, round=limits))
        for scale in SCALES
        for limits in (True, False)
    ]
    decoders, given, real = [], [], []
    for encoder in encoders:
        packed = encoder.encode(data)
        noise = np.random.default_rng(1).normal(0, 0.3, packed.x_NTD.shape).astype(np.float32)
        fuzzy = Packed(
            packed.x_NTD + noise, packed.static_NS * 1.2, data.lengths, packed.condition_NC
        )
        real.append(encoder.decode(fuzzy))
        config = encoder.config
        decoders.append(
            Decoder(encoder.pipeline, encoder.packer, clip=config.clip, rounding=config.round)
        )
        arrays = (fuzzy.x_NTD, fuzzy.static_NS, data.valid)
        given.append(tuple(torch.from_numpy(array) for array in arrays))
    module = Decoders(decoders)
    ours = module(given)
    for number, expected in enumerate(real):
        values, observed, static = (part.numpy() for part in ours[3 * number : 3 * number + 3])
        assert (observed == expected.observed).all()
        np.testing.assert_array_equal(static, expected.static)
        # the exponential of local-max may differ in the last bit between libraries
        np.testing.assert_allclose(values, expected.values, rtol=3e-7)
    # In ONNX each alone: to follow all would take long, and what they are put together of is here.
    alone = [n for n, encoder in enumerate(encoders) if encoder.config.clip and n // 2 < 5]
    module, given = Decoders([decoders[n] for n in alone]), [given[n] for n in alone]
    with formats.quiet():
        program = torch.export.export(module, (given,), strict=True)
        model = torch.onnx.export(program, dynamo=True, verbose=False)
    assert model is not None
    session = ort.InferenceSession(model.model_proto.SerializeToString())
    flat = [tensor.numpy() for arrays in given for tensor in arrays]
    names = [port.name for port in session.get_inputs()]
    made = session.run(None, dict(zip(names, flat, strict=True)))
    for number, expected in enumerate(real[n] for n in alone):
        np.testing.assert_array_equal(made[3 * number + 1], expected.observed)
        np.testing.assert_allclose(made[3 * number], expected.values, rtol=3e-7)
        np.testing.assert_allclose(made[3 * number + 2], expected.static, rtol=3e-7)


# -- the check can fail ------------------------------------------------------------------------


def changed(trained: Trained, amount: float) -> Runner:
    """Another model: the same generator with its output moved a little."""
    sampler = Sampler(trained)

    def run(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        bias = trained.generator.head.bias.data
        bias += amount
        try:
            made = sampler(**{name: torch.from_numpy(array) for name, array in inputs.items()})
            return {name: tensor.numpy() for name, tensor in made.items()}
        finally:
            bias -= amount

    return run


def test_a_file_that_samples_something_else_is_refused(runs: dict[str, Run]) -> None:
    for kind in ("gru", "icu", "digits", "table"):
        trained, _ = load_trained(runs[kind])
        sampler = Sampler(trained)
        parity.check(changed(trained, 0.0), sampler, trained, (50,))
        with pytest.raises(RganError, match="does not sample as the run does"):
            parity.check(changed(trained, 0.01), sampler, trained, (50,))


def test_a_failed_check_leaves_no_file(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "TOLERANCE", -1.0)  # so that no file could pass
    with pytest.raises(RganError) as caught:
        export(runs["paper-gru"], "onnx", tmp_path / "g.onnx")
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_border_is_told_apart_from_another_model(runs: dict[str, Run]) -> None:
    trained, _ = load_trained(runs["digits"])
    real = trained.sample(200)
    made = {"values": real.values.copy(), "observed": real.observed, "lengths_out": real.lengths}
    made["values"][3, 2, 4] += 1  # a pixel of whole numbers, one step beside
    found = parity.compare(made, real, trained)
    assert found.holds and found.largest == 0
    made["values"][5:8, 2, 4] += 1
    found = parity.compare(made, real, trained)
    assert not found.holds and found.stepped == 3 / real.values[..., 4].size
    made["values"][3:8, 2, 4] = real.values[3:8, 2, 4]
    made["values"][4, 2, 4] += 2
    assert not parity.compare(made, real, trained).holds


# -- the command -------------------------------------------------------------------------------


def test_a_torch_file_is_written_where_it_was_asked_for(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = runs["paper-gru"]
    answer = rgan("export", run.path, "--to", "torch")
    assert answer.code == 0, answer.err
    file = tmp_path / f"{run.path.name}.pt2"
    assert file.name in answer.out and "checked against" in answer.out
    extra = {"rgan.json": ""}
    module = torch.export.load(file, extra_files=extra).module()
    about = json.loads(extra["rgan.json"])
    assert (about["run"], about["weights"]) == (run.id, "last")
    steps = CheckpointStore(run.checkpoints).steps()
    assert about["checkpoint_step"] == steps[-1]
    made = module(lengths=torch.full((5,), 30), noise_step=torch.randn(5, 30, 5))
    assert made["values"].shape == (5, 30, 1)


def test_bad_questions_are_answered_before_anything_is_done(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs["paper-gru"].path
    for words, said in (
        (("--to", "onxn"), "onxn"),
        (("--to", "onnx", "-o", tmp_path / "g.pt2"), "ends in .onnx"),
        (("--to", "torch", "-o", tmp_path / "none" / "g.pt2"), "there is no folder"),
        (("--to", "torch", "--checkpoint", "12345"), "12345"),
        (("--to", "torch", "--checkpoint", "0"), "before its first step"),
        (("--to", "torch", "--checkpoint", "worst"), "worst"),
    ):
        answer = rgan("export", run, *words)
        assert answer.code == 2 and said in answer.err, answer
        assert "Traceback" not in answer.err
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    answer = rgan("export", run, "--to", "onnx", "-o", tmp_path / "g.onnx")
    assert answer.code == 2 and "pip install 'rgan[export]'" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_without_onnxruntime_it_is_said_that_nothing_was_checked(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    answer = rgan("export", runs["paper-gru"].path, "--to", "onnx", "-o", tmp_path / "g.onnx")
    assert answer.code == 0 and "not checked" in answer.out
    onnx.checker.check_model(onnx.load(tmp_path / "g.onnx"), full_check=True)
