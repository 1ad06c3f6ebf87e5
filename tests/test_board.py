"""TensorBoard finds all that a training shows of itself, and nothing of single patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rgan.config import changed
from rgan.data.load import load
from rgan.report.board import HISTOGRAMS, Board
from rgan.report.board_parts import BINS, METRICS, chosen_settings, to_histogram
from rgan.runs.folder import Run
from rgan.train.events import Ended, Judged, Noted, Started, Stepped
from rgan.workflow.fit import fit, resume
from rgan.workflow.pictures import may_show_singles
from test_resume import events, tiny

LOOKED_AT = {"monitor__every": 1, "monitor__budget": 0.0, "health__every": 4, "train__figures": 2}
SWIFT = {"generator_optimizer__rate": 0.01, "critic_optimizer__rate": 0.01,
         "train__warmup": 0, "train__average": 0.5}  # fmt: skip
"""A training that gets better within two epochs."""
REAL = "train.real_examples"
SETTINGS = {"train.steps": 20, "train.freeze": ["a", "b"], "objective.name": "bce", "x.on": True}


def read(folder: Path) -> EventAccumulator:
    board = EventAccumulator(str(folder), {"histograms": 0, "scalars": 0})
    board.Reload()
    return board


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Four epochs of a watched, steered training, in two segments."""
    steered = {"gfactor__steer": "loss-ratio", "gfactor__every": 2}
    config = tiny(train__epochs=3, **{**steered, **SWIFT, **LOOKED_AT})
    run = fit(config, runs=tmp_path_factory.mktemp("runs")).run
    return resume(run, settings={"train.epochs": 4}).run


@pytest.fixture(scope="module")
def board(run: Run) -> EventAccumulator:
    return read(run.tensorboard)


def test_every_number_of_the_history_is_there(run: Run, board: EventAccumulator) -> None:
    scalars = set(board.Tags()["scalars"])
    groups = {"loss": "losses", "rate": "rates"}
    for event in events(run.path, "epoch"):
        for group, field in groups.items():
            assert {f"{group}/{name}" for name in event[field]} <= scalars
    for name in events(run.path, "similarity")[0]["values"]:
        told = [e["values"][name] for e in events(run.path, "similarity")]
        assert [s.value for s in board.Scalars(f"similarity/{name}")] == pytest.approx(told)
    health = events(run.path, "health")
    for field in ("gradient", "update", "weight", "dead"):
        assert {f"health/{field}/generator", f"health/{field}/critic"} <= scalars
    for field in ("accuracy", "margin", "logit", "diversity", "twins"):
        found = [s.value for s in board.Scalars(f"health/{field}")]
        assert found == pytest.approx([e[field] for e in health], rel=1e-3, abs=1e-3)
    assert {"health/gradient/generator.head", "health/update/critic.recurrence"} <= scalars


def test_the_g_factor_is_the_quotient_of_the_rates(board: EventAccumulator) -> None:
    found = {tag: [s.value for s in board.Scalars(f"rate/{tag}")]
             for tag in ("g_factor", "generator", "critic")}  # fmt: skip
    quotient = np.divide(found["generator"], found["critic"])
    assert found["g_factor"] == pytest.approx(quotient) and len(set(found["g_factor"])) > 1


def test_gradients_of_each_group_of_layers_have_histograms(board: EventAccumulator) -> None:
    groups = board.Tags()["histograms"]
    assert {"gradient/generator.head", "gradient/critic.recurrence"} <= set(groups)
    for group in groups:
        found = board.Histograms(group)
        assert len(found) >= 10
        for one in found:
            value = one.histogram_value
            assert value.num == sum(value.bucket) > 0 and value.min < value.max
            assert len(value.bucket) == BINS


def test_the_best_value_and_the_convergence_are_there(run: Run, board: EventAccumulator) -> None:
    info = run.info
    assert board.Scalars("similarity/best")[-1].value == pytest.approx(info["best"]["value"])
    assert info["convergence"], "this training is to get better"
    last = board.Scalars("final/batches_to_converge")[-1]
    assert last.value == info["convergence"]["batches"]


def test_samples_are_there_as_pictures(board: EventAccumulator) -> None:
    assert [picture.step for picture in board.Images("samples")] == [16, 24, 32]


def test_a_picture_shows_single_patients_only_where_asked() -> None:
    config = tiny(data__source="icu", data__max_sequences=60)
    for wanted, shown in (("auto", False), ("never", False), ("always", True)):
        real = load(config.data)
        assert real.subjects is not None
        assert may_show_singles(real, changed(config, {REAL: wanted}).train) is shown
    assert may_show_singles(load(tiny().data), config.train)  # nobody's


def session_groups(folder: Path) -> Any:
    """What the HPARAMS tab asks TensorBoard for."""
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    request = context.RequestContext()
    experiment = backend.experiment_from_metadata(
        request,
        "",
        True,
        backend.hparams_metadata(request, ""),
        backend.hparams_from_data_provider(request, "", 0),
    )
    asked = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=100, include_metrics=True, allowed_statuses=[0, 1, 2, 3]
    )
    groups = list_session_groups.Handler(
        request, backend_context=backend, experiment_id="", request=asked
    ).run()
    return experiment, groups.session_groups


def test_the_tab_of_settings_shows_each_run_once_with_its_last_metrics(
    run: Run, board: EventAccumulator
) -> None:
    experiment, groups = session_groups(run.path.parent)
    (group,) = groups
    values = {name: value.number_value or value.string_value
              for name, value in group.hparams.items()}  # fmt: skip
    assert values["generator_optimizer.rate"] == run.read_config()["generator_optimizer"]["rate"]
    assert values["gfactor.steer"] == "loss-ratio" and values["data.source"] == "sines"
    assert "train.device" not in values and "evaluate.repeats" not in values
    assert {info.name for info in experiment.hparam_infos} == values.keys()
    assert [info.name.tag for info in experiment.metric_infos] == list(METRICS)
    metrics = {value.name.tag: value.value for value in group.metric_values}
    for tag in ("loss/generator", "similarity/overall", "final/batches_to_converge"):
        assert metrics[tag] == pytest.approx(board.Scalars(tag)[-1].value), tag
    assert group.sessions[0].status == 1  # success


def test_a_training_that_was_killed_has_its_settings_too(tmp_path: Path) -> None:
    board = Board(tmp_path, settings=SETTINGS)
    board(Started(0, 0, 20, 10, 320))
    board.numbers("loss", {"generator": 2.5}, 10)
    board._writer.flush()  # as it does by itself every 20 s; and nothing says that it ended
    _, (group,) = session_groups(tmp_path)
    assert group.hparams["train.freeze"].string_value == "a, b"
    assert group.hparams["x.on"].string_value == "true"
    assert group.hparams["train.steps"].number_value == 20
    assert {v.name.tag: v.value for v in group.metric_values} == {"loss/generator": 2.5}
    assert group.sessions[0].status == 0  # unknown
    board.close()


def test_histograms_are_few_and_leave_out_what_is_not_finite(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    layer.weight.grad = torch.full((2, 3), torch.nan)
    layer.bias.grad = torch.tensor([1.0, torch.inf])
    network = torch.nn.ModuleDict({"head": layer, "idle": torch.nn.Linear(2, 2)})
    with Board(tmp_path, networks={"critic": network}) as board:
        board(Started(0, 0, 2000, 10, 320))
        for step in range(10, 2001, 10):  # as on a GPU, where not every step is told
            board(Stepped(step, 0, {"critic": 1.0}))
        board(Ended(2000, 10))
    found = read(tmp_path)
    assert found.Tags()["histograms"] == ["gradient/critic.head"]
    histograms = found.Histograms("gradient/critic.head")
    assert [h.step for h in histograms] == list(range(80, 2001, 80))
    assert len(histograms) == HISTOGRAMS
    assert all(h.histogram_value.num == 1 for h in histograms)
    assert to_histogram(np.array([np.nan])) is None


def test_words_and_missing_values(tmp_path: Path) -> None:
    with Board(tmp_path) as board:
        board(Noted(3, 0, "collapse: samples are nearly all alike"))
        board(Judged(3, 1, {"mmd2": 0.5}, "tstr", None, False))
    found = read(tmp_path)
    assert "notes/text_summary" in found.Tags()["tensors"]
    assert found.Tags()["scalars"] == ["similarity/mmd2"]


def test_settings_that_make_no_difference_are_left_out() -> None:
    sections = {"train": {"steps": 3, "device": "cpu"}, "monitor": {"looks": 4},
                "data": {"source": "icu", "data_dir": "/x"}}  # fmt: skip
    assert chosen_settings(sections) == {"train.steps": 3, "data.source": "icu"}
