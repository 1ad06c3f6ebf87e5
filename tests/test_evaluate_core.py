"""The evaluation as a whole: candidates, floor, copy control, repeats, results."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from evaluate_toys import toy
from rgan.errors import ConfigError, DataError
from rgan.evaluate import trial as trials
from rgan.evaluate.config import EvaluateConfig
from rgan.evaluate.core import evaluate
from rgan.evaluate.result import Evaluation, Score
from rgan.evaluate.scale import Scale
from rgan.evaluate.trial import About, Measure, Metric, Unscorable, all_metrics, register
from rgan.layouts import ImageLayout
from rgan.sequences import Sequences

CHEAP = ("mmd", "marginals", "autocorrelation", "predictive", "memorisation")


def fresh(n: int, seed: int) -> Sequences:
    return toy(n, seed + 50)


@pytest.fixture
def scratch_metrics():
    before = all_metrics()
    yield
    trials._METRICS.clear()
    trials._METRICS.update(before)


@pytest.fixture(scope="module")
def whole():
    """Every metric, on a perfect generator."""
    calls = []
    config = EvaluateConfig(quick=True, repeats=2)
    found = evaluate(toy(160, 1), toy(80, 2), fresh, config, lambda *call: calls.append(call))
    return found, calls


def test_every_metric_has_a_number_or_a_reason(whole):
    found, _ = whole
    named = {about.name: m.name for m in all_metrics().values() for about in m.about(True)}
    for score, metric in named.items():
        assert (score in found) or (score in found.skipped) or (metric in found.skipped)
    unfit = {"lengths", "features_rank", "models_rank", "images", "image_classes"}
    unfit |= {"context_fid"}
    assert set(found.skipped) == unfit
    assert "quick" in found.skipped["models_rank"]
    assert found.skipped["lengths"] == "all sequences have one length"
    assert found.skipped["features_rank"].startswith("3 features")
    for score in found.scores:
        assert np.isfinite([score.value, score.spread, score.floor, score.copy]).all()
        assert len(score.values) == 2
        assert score.better in ("lower", "higher")
    assert found["tstr_linear_auroc"].interval is not None


def test_a_copier_shows_in_memorisation_and_hardly_elsewhere(whole):
    found, _ = whole
    assert found["nn_share"].copy > 0.95
    assert found["nn_ratio"].copy < 0.01
    assert found["three_sample_p"].copy < 0.01 < 0.05 < found["three_sample_p"].floor
    assert found["nn_share"].value < 0.75
    assert found.memorised is False
    # The usual scores cannot tell a copier from a perfect generator; that is why it is shown.
    assert found["mmd2"].copy < 0.01
    assert found["discriminative"].copy < 0.15
    assert found["tstr_linear_auroc"].copy == pytest.approx(found["tstr_linear_auroc"].floor)


def test_progress_ends_at_its_total(whole):
    _, calls = whole
    done, totals, names = zip(*calls, strict=True)
    assert list(done) == list(range(1, totals[0] + 1))
    assert set(totals) == {done[-1]}
    assert {"mmd", "tstr", "predictive_legacy"} <= set(names)


def test_results_are_json_and_text(whole):
    from rich.console import Console

    found, _ = whole
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["version"] == 1
    assert data["config"]["repeats"] == 2
    assert data["scores"][0]["name"] == "mmd2"
    assert data["sizes"]["train"] == 160
    text = str(found)
    assert "no sign of copying" in text
    assert "not computed: lengths: all sequences have one length" in text
    assert "nan" not in text.lower()
    screen = io.StringIO()
    Console(width=220, file=screen).print(found.table())
    assert "marginals, Wasserstein-1" in screen.getvalue()


def test_a_memorising_generator_is_named():
    train, test = toy(160, 1), toy(80, 2)
    found = evaluate(train, test, train, EvaluateConfig(metrics=("memorisation",)))
    assert found.memorised is True
    assert "SIGNS OF COPYING" in str(found)


def test_one_seed_gives_one_result_and_masks_hide_what_they_cover():
    train, test, made = toy(80, 1), toy(60, 2), toy(80, 3)
    config = EvaluateConfig(metrics=CHEAP, repeats=2, quick=True)
    first = evaluate(train, test, made, config).to_dict()
    dirty = [replace(s, values=np.where(s.observed, s.values, -1e5)) for s in (train, test, made)]
    assert evaluate(*dirty, config).to_dict() == first
    other = evaluate(train, test, made, replace(config, seed=1)).to_dict()
    assert other["scores"] != first["scores"]


def test_a_shift_is_worse_than_the_floor_in_its_direction():
    config = EvaluateConfig(metrics=("mmd", "marginals", "tstr"), repeats=2)
    found = evaluate(toy(160, 1), toy(80, 2), lambda n, s: toy(n, s + 50, shift=1.0), config)
    assert found["mmd2"].value > found["mmd2"].floor + 5 * found["mmd2"].spread
    assert found["marginal_w1"].value > 2 * found["marginal_w1"].floor
    assert found["marginal_w1"].parts.keys() == {"v0", "v1", "v2"}
    assert found["tstr_linear_accuracy"].value < found["tstr_linear_accuracy"].floor


def test_more_synthetic_sequences_than_real_ones_are_for_tstr_alone():
    """Labels that are wrong by chance: what one draw loses by them, ten draws win back."""
    pool, rng = toy(4000, 9), np.random.default_rng(0)
    assert pool.labels is not None
    wrong_N = rng.random(len(pool)) < 0.8
    pool = replace(pool, labels=np.where(wrong_N, rng.permutation(pool.labels), pool.labels))

    def noisy(n: int, seed: int) -> Sequences:
        return pool[np.random.default_rng(seed).permutation(len(pool))[:n]]

    one, ten = (
        evaluate(
            toy(60, 1), toy(400, 2), noisy, EvaluateConfig(("mmd", "tstr"), repeats=5, times=times)
        )
        for times in (1, 10)
    )
    assert ten["mmd2"].values == one["mmd2"].values
    assert ten["tstr_linear_auroc"].floor == one["tstr_linear_auroc"].floor
    assert (one.sizes["synthetic"], ten.sizes["synthetic"]) == (60, 600)
    for kind in ("linear", "boosting"):  # won by five seeds of wrong labels: .04 to .30, .03 to .19
        assert ten[f"tstr_{kind}_auroc"].value > one[f"tstr_{kind}_auroc"].value + 0.02
    for times in (0, 21):
        with pytest.raises(ValidationError):
            EvaluateConfig(times=times)


def test_the_sampler_is_held_to_its_word():
    train, test = toy(40, 1), toy(40, 2)
    config = EvaluateConfig(metrics=("mmd",), repeats=1)
    with pytest.raises(DataError, match="the sampler gave 3 sequences"):
        evaluate(train, test, lambda n, s: toy(3, s), config)

    def scaled(n: int, seed: int) -> Sequences:
        data = toy(n, seed)
        return replace(data, values=Scale.of(data).standardise(data))

    with pytest.raises(DataError, match="different scales"):
        evaluate(train, test, scaled, config)
    with pytest.raises(DataError, match="test set has 2"):
        evaluate(train, test[:2], fresh, config)


def test_wrong_settings_are_refused_before_anything_runs():
    with pytest.raises(ConfigError, match="mmd"):
        evaluate(toy(40, 1), toy(40, 2), fresh, EvaluateConfig(metrics=("mdm",)))
    with pytest.raises(ConfigError, match="size is 2"):
        evaluate(toy(40, 1), toy(40, 2), fresh, EvaluateConfig(size=2))
    for wrong in ({"repeats": 0}, {"seed": -1}, {"size": -1}, {"rounds": 3}):
        with pytest.raises(ValidationError):
            EvaluateConfig(**wrong)


def test_another_metric_is_one_small_class(scratch_metrics):
    class Rows(Metric):
        name = "rows"

        def about(self, quick):
            return (About("rows", "rows", "higher"), About("odd", "odd", "higher"))

        def measure(self, trial):
            return {"rows": Measure(len(trial.candidate)), "odd": Measure(float("nan"))}

    class Never(Rows):
        name = "never"

        def measure(self, trial):
            raise Unscorable("the moon is full")

    register(Rows())
    register(Never())
    config = EvaluateConfig(metrics=("rows", "never"), size=30, repeats=2)
    found = evaluate(toy(60, 1), toy(40, 2), fresh, config)
    assert found["rows"].value == found["rows"].floor == found["rows"].copy == 15
    assert found.skipped["never"] == "the moon is full"
    assert "not a number" in found.skipped["odd"]
    with pytest.raises(KeyError, match="not a number"):
        found["odd"]


def test_floor_and_copy_hold_the_rows_they_should(scratch_metrics):
    seen = []

    class Spy(Metric):
        name = "spy"

        def about(self, quick):
            return (About("spy", "spy", "lower"),)

        def measure(self, trial):
            seen.append(trial)
            return {"spy": Measure(0.0)}

    register(Spy())
    train, test = toy(60, 1), toy(40, 2)
    evaluate(train, test, fresh, EvaluateConfig(metrics=("spy",), repeats=2))
    assert [t.kind for t in seen] == ["synthetic", "floor", "copy"] * 2
    for trial in seen:
        own, others = set(trial.candidate.subjects), set(trial.train.subjects)
        assert not set(trial.test.subjects) & others
        assert own <= others if trial.kind == "copy" else not own & others
    assert not np.array_equal(seen[1].candidate.subjects, seen[4].candidate.subjects)


def test_images_and_lengths_and_tiny_sets_do_not_break_it():
    layout = ImageLayout(6, 5)

    def images(n: int, seed: int) -> Sequences:
        draw = np.random.default_rng(seed)
        labels = draw.integers(0, 3, n)
        pixels = draw.uniform(0, 80, (n, 6, 5, 1)) + 60 * labels[:, None, None, None]
        pixels[:, 0] = 0  # a border that never changes
        return Sequences(layout.to_sequences(pixels), labels=labels, layout=layout)

    names = ("mmd", "marginals", "cross_correlation", "discriminative", "tstr", "memorisation")
    config = EvaluateConfig(metrics=names, repeats=1, quick=True)
    found = evaluate(images(60, 1), images(40, 2), images, config)
    assert found["tstr_linear_accuracy"].value > 0.8
    assert found.skipped == {}

    def ragged(n: int, seed: int) -> Sequences:
        data = toy(n, seed)
        return replace(data, lengths=np.random.default_rng(seed).integers(3, 13, n))

    everything = EvaluateConfig(repeats=1, quick=True)
    found = evaluate(ragged(12, 1), ragged(6, 2), ragged, everything)
    assert "length_w1" in found
    assert "it needs 10" in found.skipped["discriminative"]


def test_copies_are_seen_where_few_test_sequences_leave_the_test_without_power() -> None:
    near = Score("nn_ratio", "", 0.001, 0.0, (0.001,), 0.9, 0.0, "higher")
    weak = Score("three_sample_p", "", 0.12, 0.0, (0.12,), 0.8, 0.12, "higher")
    fresh = Score("nn_ratio", "", 0.88, 0.0, (0.88,), 0.9, 0.0, "higher")
    assert Evaluation((near, weak)).memorised is True
    assert Evaluation((fresh, weak)).memorised is False
    assert Evaluation(()).memorised is None


def test_controls_can_be_computed_once_for_many_generators():
    config = EvaluateConfig(metrics=("mmd", "memorisation"), repeats=2, quick=True)
    train, test, made = toy(200, 1), toy(80, 2), toy(200, 3)
    both = evaluate(train, test, made, config)
    alone = evaluate(train, test, made, config, kinds=("synthetic",))
    assert alone["mmd2"].values == both["mmd2"].values
    assert alone["mmd2"].floor is None and alone["mmd2"].copy is None
    floor = evaluate(train, test, train, config, kinds=("synthetic", "floor"))
    assert floor["mmd2"].floor_values == both["mmd2"].floor_values
    assert floor["nn_share"].value == both["nn_share"].copy == 1
    assert "-" in str(alone)
