"""Averaging: the exact mean of networks that match, refused by name where they do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import rgan
from rgan.config import Config, changed
from rgan.errors import ConfigError, RunError
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.runs.sealed import Tensors
from rgan.workflow.average import average_runs
from rgan.workflow.blend import difference
from rgan.workflow.fit import branch, fit
from rgan.workflow.sampling import load_trained
from rgan.workflow.soup import find_score

TINY = {
    **{"train.device": "cpu", "train.figures": 0, "train.epochs": 1, "train.batch_size": 14},
    **{"generator.hidden": 6, "critic.hidden": 6, "critic.channels": 6},
    **{"data.source": "sines", "data.max_sequences": 80},
    "health.every": 0,  # two branches learn too fast on purpose
}


def tiny(**more: object) -> Config:
    return changed(Config(), TINY | {key.replace("__", "."): v for key, v in more.items()})


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """A run, and two branches of it."""
    parent = fit(tiny(), runs=tmp_path_factory.mktemp("family")).run
    settings = [{"train.epochs": 3, "generator_optimizer.rate": rate} for rate in (0.02, 0.05)]
    return [parent, *(branch(parent, settings=each).run for each in settings)]


@pytest.fixture
def runs(family: list[Run]) -> list[Run]:
    return [Run.open(run.path) for run in family]


def model(run: Run) -> dict[str, torch.Tensor]:
    return CheckpointStore(run.checkpoints).load().tensors["model"]


def rewrite(run: Run, root: Path, change: Callable[[Tensors, dict[str, Any]], None]) -> Run:
    """A copy of a run, another run to all the world, whose last checkpoint is changed."""
    checkpoint = CheckpointStore(run.checkpoints).load()
    info = run.info
    copy = Run.create(root, "copy", data=info["data"], spec=info.get("spec"))
    change(checkpoint.tensors, checkpoint.state)
    copy.write_config(checkpoint.state["config"])
    CheckpointStore(copy.checkpoints).save(checkpoint.step, checkpoint.tensors, checkpoint.state)
    return copy


def test_the_mean_is_exact_and_the_rest_is_the_firsts(runs: list[Run], tmp_path: Path) -> None:
    _, one, two = runs
    mean = average_runs([one, two], weights=[3, 1], root=tmp_path)
    assert mean is not None
    first, second, found = model(one), model(two), model(mean)
    assert found.keys() == first.keys()
    parameters = 0
    for name, tensor in found.items():
        if name.startswith("critic.") or name.endswith(".lattice"):
            assert torch.equal(tensor, first[name]), name
            continue
        expected = 0.75 * first[name].double() + 0.25 * second[name].double()
        assert torch.equal(tensor, expected.to(tensor.dtype)), name
        parameters += not torch.equal(first[name], second[name])
    assert parameters > 10
    optimizer = [CheckpointStore(r.checkpoints).load().tensors["optimizer"] for r in (one, mean)]
    assert all(torch.equal(optimizer[0][name], value) for name, value in optimizer[1].items())
    info = mean.info
    assert info["parent"] == one.id and info["average"]["weights"] == [0.75, 0.25]
    assert [p["id"] for p in info["parents"]] == [one.id, two.id]


def test_infinite_buffers_stay_infinite(runs: list[Run], tmp_path: Path) -> None:
    """The lattice of values that nothing limits is infinite: inf - inf would be no number."""

    def endless(tensors: Tensors, state: dict[str, Any]) -> None:
        for group in ("generator", "average"):
            tensors["model"][f"{group}.lattice"][2:] = torch.tensor([[-torch.inf], [torch.inf]])

    copies = [rewrite(run, tmp_path, endless) for run in runs[1:]]
    mean = average_runs(copies, root=tmp_path)
    assert mean is not None
    lattice = model(mean)["average.lattice"]
    assert lattice[2:].isinf().all() and not lattice.isnan().any()


def test_an_average_is_a_run_like_any_other(runs: list[Run], tmp_path: Path) -> None:
    answer = rgan("runs", "average", runs[1].path, runs[2].path, "--name", "mean of two")
    assert answer.code == 0, answer.err
    assert "0.500" in answer.out
    path = Path(next(x for x in answer.out.splitlines() if "averaged:" in x).split(": ")[1])
    assert path.parent == runs[1].path.parent and path.name.endswith("mean-of-two")
    run = Run.open(path)
    step = CheckpointStore(run.checkpoints).load().step
    samples = load_trained(run)[0].sample(20)
    assert np.isfinite(samples.values).all()
    assert not np.array_equal(samples.values, load_trained(runs[1])[0].sample(20).values)
    assert rgan("evaluate", path, "--quick", "--metric", "marginals", "-q").code == 0
    assert rgan("train", "--resume", path, "--epochs", 4, "-q").code == 0
    assert CheckpointStore(run.checkpoints).load().step > step
    shown = " ".join(rgan("runs", "show", path).out.split())  # lines may be folded
    assert f"average of {runs[1].path.name}, {runs[2].path.name}" in shown
    listed = json.loads(rgan("runs", "list", path, "--json").out)
    assert listed[0]["parents"] == [runs[1].id, runs[2].id]


def test_without_averaged_weights_the_last_ones_are_taken(runs: list[Run], tmp_path: Path) -> None:
    def last_ones(tensors: Tensors, state: dict[str, Any]) -> None:
        state["config"]["train"]["average"] = 0.0

    copy = rewrite(runs[2], tmp_path, last_ones)
    mean = average_runs([runs[1], copy], root=tmp_path)
    assert mean is not None
    name = "head.weight"
    parts = [model(runs[1])[f"average.{name}"], model(copy)[f"generator.{name}"]]
    expected = (0.5 * parts[0].double() + 0.5 * parts[1].double()).float()
    assert torch.equal(model(mean)[f"average.{name}"], expected)


# -- refusals --------------------------------------------------------------------------------


def refused(one: Run, other: Run, match: str) -> str:
    root = one.path.parent
    before = sorted(root.iterdir())
    with pytest.raises(RunError, match=match) as caught:
        average_runs([one, other], root=root)
    assert sorted(root.iterdir()) == before
    return caught.value.message


def test_the_first_tensor_that_differs_is_named(runs: list[Run], tmp_path: Path) -> None:
    wide = branch(runs[0], runs=tmp_path, settings={"generator.hidden": 8,
                                                            "train.epochs": 2}).run  # fmt: skip
    said = refused(runs[1], wide, r"generator\.after\.")
    assert wide.path.name in said and "(6," in said and "(8," in said

    def take_one(tensors: Tensors, state: dict[str, Any]) -> None:
        del tensors["model"]["generator.head.bias"]

    refused(runs[1], rewrite(runs[2], tmp_path, take_one), "not there")


def test_another_network_of_the_same_shapes_is_refused(runs: list[Run], tmp_path: Path) -> None:
    def other(tensors: Tensors, state: dict[str, Any]) -> None:
        state["config"]["generator"]["bidirectional"] = False

    refused(runs[1], rewrite(runs[2], tmp_path, other), "generator.bidirectional is True")


def test_another_scaling_is_refused_by_the_features_name(runs: list[Run], tmp_path: Path) -> None:
    def other(tensors: Tensors, state: dict[str, Any]) -> None:
        state["encoder"]["pipeline"]["steps"][0]["offset"][0] += 1e-9

    said = refused(runs[1], rewrite(runs[2], tmp_path, other), "the scaling")
    assert 'zscore offset) of "value"' in said


def test_another_seeds_split_has_another_scaling(tmp_path: Path) -> None:
    np.save(tmp_path / "waves.npy", np.random.default_rng(0).normal(size=(60, 12, 2)))
    here = tmp_path / "runs"
    source = str(tmp_path / "waves.npy")
    one, other = (fit(tiny(data__source=source, train__seed=s), runs=here).run for s in (0, 1))
    assert 'of "' in refused(one, other, "the scaling")


def test_what_the_data_are_called_does_not_matter(runs: list[Run], tmp_path: Path) -> None:
    def other(tensors: Tensors, state: dict[str, Any]) -> None:
        state["encoder"]["packer"]["name"] = "the same by another name"

    assert average_runs([runs[1], rewrite(runs[2], tmp_path, other)], root=tmp_path)


def test_other_data_another_kind_and_another_lattice_are_refused(
    runs: list[Run], tmp_path: Path
) -> None:
    def nothing(tensors: Tensors, state: dict[str, Any]) -> None:
        pass

    other = rewrite(runs[2], tmp_path, nothing)
    other.update_info(data={"fingerprint": "0" * 64})
    refused(runs[1], other, "fingerprint is")

    def rcgan(tensors: Tensors, state: dict[str, Any]) -> None:
        state["config"]["model"]["kind"] = "rcgan"

    refused(runs[1], rewrite(runs[2], tmp_path, rcgan), "the model is rgan")

    def lattice(tensors: Tensors, state: dict[str, Any]) -> None:
        tensors["model"]["generator.lattice"][0] += 1

    refused(runs[1], rewrite(runs[2], tmp_path, lattice), "generator.lattice is")

    def broken(tensors: Tensors, state: dict[str, Any]) -> None:
        tensors["model"]["average.head.bias"][0] = torch.nan

    refused(runs[1], rewrite(runs[2], tmp_path, broken), "average.head.bias of .* is not finite")


def test_requests_that_make_no_sense_are_refused(runs: list[Run]) -> None:
    with pytest.raises(RunError, match="at least two"):
        average_runs(runs[:1])
    for weights, match in (([1], "1 weights for 2"), ([1, 0], "above 0"), ([1, float("nan")], "a")):
        with pytest.raises(ConfigError, match=match):
            average_runs(runs[:2], weights=weights)
    answer = rgan("runs", "average", runs[0].path, runs[1].path, "--weights", "0.7;0.3")
    assert answer.code == 2 and "--weights 0.7,0.3" in answer.err
    answer = rgan("runs", "average", runs[0].path, runs[1].path, "--greedy", "mdm")
    assert answer.code == 2 and '"mmd' in answer.err
    with pytest.raises(ConfigError, match="greedy weighs all alike"):
        average_runs(runs[:2], weights=[1, 2], greedy="mmd")


def test_where_json_first_differs() -> None:
    assert difference({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 2}]}}) is None
    assert difference({"a": 1}, {"a": 1, "b": 2}) == ("b",)
    assert difference({"a": [1]}, {"a": [1, 2]}) == ("a",)


# -- greedy ----------------------------------------------------------------------------------


def shifted(amount: float) -> Callable[[Tensors, dict[str, Any]], None]:
    """A generator whose every value lies too high, or too low: the mean of both is as it was."""

    def change(tensors: Tensors, state: dict[str, Any]) -> None:
        for name, tensor in tensors["model"].items():
            if name.endswith("head.bias") and not name.startswith("critic."):
                tensor += amount

    return change


def test_greedy_takes_in_what_improves_and_leaves_out_what_does_not(
    runs: list[Run], tmp_path: Path
) -> None:
    base = runs[1]
    opposite = [rewrite(base, tmp_path, shifted(amount)) for amount in (0.4, -0.4, 0.8)]
    said: list[str] = []
    settings = {"evaluate.quick": True, "evaluate.repeats": 2}
    mean = average_runs(opposite, greedy="marginal_w1", settings=settings, root=tmp_path,
                        say=said.append)  # fmt: skip
    assert mean is not None
    about = mean.info["average"]
    values = {tuple(t["runs"]): t["value"] for t in about["greedy"]["tries"]}
    alone = {ids[0]: value for ids, value in values.items() if len(ids) == 1}
    assert len(alone) == 3 and len(values) == 5 and len(said) == 5
    ranked = sorted(alone, key=alone.__getitem__)
    assert list(values)[3][0] == list(values)[4][0] == ranked[0], "the best comes first"
    best, kept = alone[ranked[0]], [ranked[0]]
    for ids in list(values)[3:]:
        assert list(ids) == [*kept, ids[-1]]
        if values[ids] < best:
            best, kept = values[ids], list(ids)
    assert [p["id"] for p in mean.info["parents"]] == kept
    assert len(kept) == 2, "the mean of opposite shifts is better than each"
    assert any(line.endswith(", kept") for line in said)
    assert any(line.endswith(", left out") for line in said)


def test_greedy_makes_no_run_where_nothing_improves(runs: list[Run], tmp_path: Path) -> None:
    worse = rewrite(runs[2], tmp_path, shifted(0.6))
    before = sorted(tmp_path.iterdir())
    words = ("--greedy", "marginals", "--set", "evaluate.quick=true")
    answer = rgan("runs", "average", worse.path, runs[2].path, *words)
    assert answer.code == 0 and "so no run is made" in answer.err
    assert sorted(tmp_path.iterdir()) == before


def test_scores_and_metrics_are_known_with_their_direction() -> None:
    assert find_score("mmd", False)[1].name == "mmd2"
    metric, about = find_score("nn_ratio", False)
    assert (metric, about.better) == ("memorisation", "higher")
    with pytest.raises(ConfigError, match='did you mean "mmd'):
        find_score("mmdd", False)
