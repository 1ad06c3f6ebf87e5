"""The networks of a run from its configuration, with its checkpoints gone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from command_line import TINY, rgan
from rgan.errors import ConfigError, RganError, RunError
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.workflow.architecture import as_text, rebuild

FEW = (*TINY, "--set", "train.steps=2", "--set", "train.figures=0", "--quiet")


@pytest.fixture(scope="module", params=["icu", "sines"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    words = ("icu",) if request.param == "icu" else ("sines", "--preset", "paper")
    sizes = ("--max-sequences", 60, "--batch-size", 16)
    assert rgan("train", *words, *FEW, *sizes, "--runs", folder).code == 0
    return Run.open(next(folder.iterdir()))


@pytest.fixture
def copy(trained: Run, tmp_path: Path) -> Run:
    """The run, to be damaged."""
    return Run.open(shutil.copytree(trained.path, tmp_path / "run"))


def write_spec(run: Run, spec: Any) -> None:
    info = json.loads(run.run_json.read_text())
    info.pop("spec", None)
    run.run_json.write_text(json.dumps(info | ({} if spec is None else {"spec": spec})))


def sizes_of(run: Run) -> Any:
    state = CheckpointStore(run.checkpoints).load().state
    return state["encoder"]["packer"]["spec"]


def test_rebuilt_networks_are_those_that_were_trained(trained: Run, copy: Run) -> None:
    saved = CheckpointStore(trained.checkpoints)
    model = saved.load().tensors["model"]
    first = saved.load(0).tensors["model"]
    shutil.rmtree(copy.checkpoints)
    rebuilt = rebuild(copy)
    assert rebuilt.source == "run.json"
    for name in ("generator", "critic"):
        own = getattr(rebuilt, name).state_dict()
        then = {k.removeprefix(f"{name}."): v for k, v in model.items() if k.startswith(f"{name}.")}
        assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in then.items()}
        for key, tensor in own.items():  # the very weights that training began with
            if key not in ("head.bias", "lattice"):
                assert torch.equal(tensor, first[f"{name}.{key}"]), key
    for name, count in rebuilt.parameters.items():
        keys = [k for k in model if k.startswith(f"{name}.") and not k.endswith(".lattice")]
        assert count == sum(model[key].numel() for key in keys)
        inside = [layer for layer in rebuilt.layers if layer.name.startswith(f"{name}.")]
        assert sum(layer.parameters for layer in inside) == count
        # every trained tensor belongs to a layer of the table
        for key in keys:
            assert any(key.startswith(f"{layer.name}.") for layer in inside), key


def test_shapes_are_those_of_a_real_pass(trained: Run) -> None:
    rebuilt = rebuild(trained)
    shapes = {layer.name: layer.shape for layer in rebuilt.layers}
    spec = rebuilt.spec
    assert shapes["generator.head"] == ("N", spec.steps, spec.channels)
    votes = spec.steps if rebuilt.config.critic.readout == "sequence" else 1
    assert shapes["critic.head"] == ("N", votes, 1)
    assert [layer.name.partition(".")[0] for layer in rebuilt.layers] == sorted(
        (layer.name.partition(".")[0] for layer in rebuilt.layers), reverse=True
    )
    text = as_text(rebuilt)
    assert f"{sum(rebuilt.parameters.values()):,}" in text
    for layer in rebuilt.layers:
        assert layer.name in text
    assert max(map(len, text.splitlines())) <= 100


def test_an_older_run_asks_its_checkpoint(copy: Run) -> None:
    write_spec(copy, None)
    assert rebuild(copy).source.startswith("checkpoint")
    shutil.rmtree(copy.checkpoints)
    with pytest.raises(RunError, match="does not say what its data look like"):
        rebuild(copy)


BAD: tuple[dict[str, Any], ...] = (
    *({"steps": 0}, {"steps": "9"}, {"steps": True}, {"steps": 1.5}, {"values": -1}),
    *({"masks": 3}, {"masks": [5000]}, {"masks": [0, 0]}, {"masks": ["a"]}, {"masks": [[0]]}),
    *({"statics": [["odd", 1]]}, {"statics": [["binary"]]}, {"statics": [[["binary"], 1]]}),
    *({"statics": {"binary": 1}}, {"bounded": "yes"}, {"more": 1}, {"condition": None}),
    *({"steps": 10**30}, {"values": 10**9}, {"steps": 10**8}, {"statics": [["binary", 10**8]]}),
)


@pytest.mark.parametrize("change", BAD, ids=str)
def test_a_damaged_description_is_named(copy: Run, change: dict[str, Any]) -> None:
    write_spec(copy, sizes_of(copy) | change)
    with pytest.raises(RganError) as caught:
        rebuild(copy)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("spec", [[], "x", 3, {}], ids=str)
def test_a_description_of_another_kind_is_named(copy: Run, spec: Any) -> None:
    write_spec(copy, spec)
    with pytest.raises(RunError, match="damaged"):
        rebuild(copy)


def test_networks_that_no_machine_holds_are_not_begun(copy: Run) -> None:
    text = copy.config_toml.read_text()
    head, tail = text.split("[generator]")
    for key, value in (("hidden", 2**16), ("layers", 100)):
        tail = re.sub(rf"^{key} = .*$", f"{key} = {value}", tail, count=1, flags=re.MULTILINE)
    copy.config_toml.write_text(head + "[generator]" + tail)
    with pytest.raises(ConfigError, match="would not fit"):
        rebuild(copy)
