"""Static attributes as conditions: what is learnt of them, how they are asked for and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from command_line import TINY, rgan
from rgan import RGAN, load
from rgan.config import changed, preset
from rgan.errors import ConfigError, DataError, InputError, RunError
from rgan.runs.folder import Run
from rgan.sequences import Sequences, Static
from rgan.train.updates import _class_weights
from rgan.transforms.config import TransformConfig
from rgan.transforms.joint import Joint
from rgan.workflow.asking import mixed_labels, shares_of
from rgan.workflow.encoder import Encoder
from rgan.workflow.sampling import load_trained
from rgan.workflow.session import open_session
from rgan.workflow.sizes import read_spec
from rgan.workflow.trained import BLOCK, Trained

QUICK = {"generator.hidden": 8, "critic.hidden": 8, "critic.channels": 8, "train.device": "cpu"}
SMALL = {"settings": QUICK, "steps": 3, "batch_size": 16, "condition": ("age", "sex")}


def wards(n: int = 400, seed: int = 0) -> Sequences:
    """Rates that rise with age along a sine; nobody is 46 to 54; the old die more, and no woman is
    in ward C; four do not tell their sex; lengths differ."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(20, 80, 2 * n).round()
    age = age[(age <= 45) | (age >= 55)][:n]
    male = (rng.random(n) < 0.5).astype(float)
    ward = np.where(male == 1, rng.integers(0, 3, n), rng.integers(0, 2, n)).astype(float)
    died = (rng.random(n) < np.where(age > 50, 0.5, 0.1)).astype(int)
    level = 60 + 10 * np.sin((age - 50) / 60 * np.pi)
    values = level[:, None] + rng.normal(0, 2, (n, 1)) + rng.normal(0, 1, (n, 8))
    male[:4] = np.nan
    return Sequences(
        values[..., None].astype(np.float32),
        labels=died,
        lengths=rng.integers(6, 9, n),
        static=np.stack([age, ward, male], axis=1),
        static_info=(
            Static("age", unit="years"),
            Static("ward", "categorical", ("A", "B", "C")),
            Static("sex", "binary", ("female", "male")),
        ),
        feature_names=("hr",),
        label_name="died",
        name="wards",
    )


@pytest.fixture(scope="module")
def model() -> RGAN:
    return RGAN(**SMALL).fit(wards())


def encoder(data: Sequences, *names: str) -> Encoder:
    return Encoder.fit(data, TransformConfig(), names)


# -- what is learnt --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_value_between_those_of_training_lies_between_its_neighbours(seed: int) -> None:
    model = RGAN(
        preset="feedback",
        steps=300,
        settings={"generator.hidden": 24},
        condition="age",
        random_state=seed,
        device="cpu",
    ).fit(wards())
    ages = (30, 40, 50, 60, 70)  # none of 50 has been seen
    means = [np.nanmean(model.sample(200, conditions={"age": age})) for age in ages]
    assert np.all(np.diff(means) > 2), means
    # 200 samples deviate by 2 from a sine that 300 steps have not learnt to the end
    truth = 60 + 10 * np.sin((np.array(ages) - 50) / 60 * np.pi)
    assert means == pytest.approx(truth.tolist(), abs=1.5)


def test_conditions_are_columns_of_the_condition_and_not_generated() -> None:
    data = wards()
    packer = encoder(data, "sex", "age").packer
    assert packer.conditions == ("age", "sex"), "in the order of the data, however they are named"
    assert packer.spec.statics == (("categorical", 3),)
    assert (packer.spec.condition, packer.spec.given) == (2 + 1 + 3, 1 + 3)


@pytest.mark.parametrize("names", [("age",), ("ward", "sex"), ("age", "ward", "sex"), ()])
def test_packing_gives_back_what_was_packed(names: tuple[str, ...]) -> None:
    data = wards(60)
    fitted = encoder(data, *names)
    again = Encoder.from_state(json.loads(json.dumps(fitted.state(), allow_nan=False)))
    assert again == fitted or again.state() == fitted.state()
    assert np.array_equal(again.encode(data).condition_NC, fitted.encode(data).condition_NC)
    back = fitted.decode(again.encode(data))
    np.testing.assert_allclose(back.static, data.static, rtol=1e-6)
    assert back.static_info == data.static_info and np.array_equal(back.labels, data.labels)


def test_classes_are_evened_out_in_batches_beside_conditions() -> None:
    config = changed(preset("default"), {**QUICK, "model.condition": ("age", "sex")})
    session = open_session(config, wards())
    spec = session.encoder.packer.spec
    assert spec.condition - spec.given == 2
    weights = _class_weights(session.batch, 1.0, spec.condition - spec.given)
    assert weights is not None
    died = session.splits.train.labels == 1
    assert weights[died].sum() == pytest.approx(weights[~died].sum())
    plain = open_session(changed(config, {"model.condition": ()}), wards())
    assert np.array_equal(weights, _class_weights(plain.batch, 1.0, 2))


def test_a_run_with_conditions_and_no_labels_is_conditioned() -> None:
    import dataclasses

    data = dataclasses.replace(wards(), labels=None)
    model = RGAN(**SMALL).fit(data)
    assert model.config_.model.kind == "rcgan"
    made = model.sample(5, conditions={"sex": "male"}, as_sequences=True)
    assert made.labels is None and (made.static[:, 2] == 1).all()


# -- what is asked for -----------------------------------------------------------------------


def test_samples_carry_what_was_asked_for_and_follow_it(model: RGAN) -> None:
    made = model.sample(50, conditions={"age": 63.25, "sex": "male"}, as_sequences=True)
    assert (made.static[:, 0] == 63.25).all(), "not rounded to whole years"
    assert (made.static[:, 2] == 1).all()
    codes = model.sample(50, conditions={"age": 63.25, "sex": 1}, as_sequences=True)
    assert made.equals(codes)
    old = model.sample(50, conditions={"age": 80, "sex": "male"}, as_sequences=True)
    assert not np.array_equal(made.values, old.values, equal_nan=True)
    ages = np.linspace(20, 80, 50, dtype=np.float32)
    swept = model.sample(50, labels=1, conditions={"age": ages}, as_sequences=True)
    assert np.array_equal(swept.static[:, 0], ages) and (swept.labels == 1).all()


def test_a_larger_sample_begins_with_the_smaller(model: RGAN) -> None:
    for how in ({}, {"conditions": {"age": 30}}, {"label_mix": {"1": 0.3, "0": 0.7}}):
        many = model.sample(BLOCK + 200, as_sequences=True, **how)
        for n in (7, BLOCK + 3):
            assert model.sample(n, as_sequences=True, **how).equals(many[:n])


def test_saved_and_loaded_it_samples_the_same(model: RGAN, tmp_path: Path) -> None:
    loaded = load(model.save(tmp_path / "run"))
    how = {"conditions": {"sex": "female"}, "label_mix": "even"}
    assert np.array_equal(loaded.sample(9, **how), model.sample(9, **how), equal_nan=True)
    assert loaded.configuration().model.condition == ("age", "sex")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"age": 81}, "to be 81 years\n  rule: between 20 and 80 years"),
        ({"age": 19.5}, "to be 19.5"),
        ({"age": float("nan")}, "to be nan"),
        ({"age": "old"}, "it is a number"),
        ({"sex": "man"}, "its levels are female, male"),
        ({"sex": 2}, "its levels are female, male"),
        ({"ward": "A"}, "other static attributes are generated"),
        ({"ages": 50}, 'did you mean "age"'),
        ({"died": 1}, '"died" is the label'),
        ({"age": [50, 60]}, "one for all, or one value each"),
    ],
)
def test_what_was_not_learnt_is_refused(model: RGAN, asked: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        model.sample(5, conditions=asked)  # type: ignore[arg-type]
    assert words in caught.value.message


def test_a_model_without_conditions_takes_none() -> None:
    plain = RGAN(settings=QUICK, steps=2).fit(wards(60))
    with pytest.raises(InputError, match="trained without conditions"):
        plain.sample(3, conditions={"age": 50})
    with pytest.raises(InputError, match='"died" is the label'):
        plain.sample(3, conditions={"died": 1})


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("agee", 'did you mean "age"'),
        ("died", "is the label"),
        ("age,age", "twice"),
    ],
)
def test_conditions_that_are_none_are_refused(names: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RGAN(settings=QUICK, steps=2, condition=names).fit(wards(60))
    assert words in caught.value.message


def test_a_condition_that_never_varies_is_refused() -> None:
    data = wards(60)
    data.static[:, 0] = 50
    with pytest.raises(DataError, match='"age" is the same in every'):
        RGAN(settings=QUICK, steps=2, condition="age").fit(data)


# -- what is drawn ---------------------------------------------------------------------------


def drawn(
    joint: Joint, fitted: Encoder, n: int = 20_000, **given: object
) -> tuple[np.ndarray, np.ndarray]:
    values = {name: np.full(n, joint.values(name, asked)) for name, asked in given.items()}
    labels, made = joint.draw(np.random.default_rng(0), n, fitted.packer.labels, None, values)
    assert labels is not None
    return labels, made


def test_conditions_are_drawn_together_as_they_occur() -> None:
    data = wards(2000)
    fitted = encoder(data, "age", "ward", "sex")
    assert fitted.joint is not None
    labels, made = drawn(fitted.joint, fitted)
    assert not ((made[:, 1] == 2) & (made[:, 2] == 0)).any(), "no woman is in ward C"
    assert np.isnan(made[:, 2]).mean() == pytest.approx(4 / 2000, abs=0.002)
    for share in (0.05, 0.25, 0.4, 0.6, 0.75, 0.95):
        real = np.quantile(data.static[:, 0], share)
        assert np.quantile(made[:, 0], share) == pytest.approx(real, abs=1.5)
    assert np.array_equal(made[:, 0], made[:, 0].round()), "ages are whole, as in the data"
    for rows, real in ((made[:, 0] > 60, data.static[:, 0] > 60), (made[:, 0] < 40, None)):
        real = data.static[:, 0] < 40 if real is None else real
        assert labels[rows].mean() == pytest.approx(data.labels[real].mean(), abs=0.03)


def test_what_is_fixed_picks_what_is_drawn_beside_it() -> None:
    data = wards(2000)
    fitted = encoder(data, "age", "ward", "sex")
    assert fitted.joint is not None
    labels, made = drawn(fitted.joint, fitted, age=75)
    old = np.abs(data.static[:, 0] - 75) < 3
    assert labels.mean() == pytest.approx(data.labels[old].mean(), abs=0.08)
    assert (made[:, 0] == 75).all()
    _, made = drawn(fitted.joint, fitted, ward="C")
    assert set(np.unique(made[~np.isnan(made[:, 2]), 2])) == {1.0}
    # A combination that nobody has: the nearest ones, with what was asked put in.
    _, made = drawn(fitted.joint, fitted, ward="C", sex="female")
    assert (made[:, 1] == 2).all() and (made[:, 2] == 0).all()


def test_values_that_many_share_stay_as_frequent() -> None:
    data = wards(1000)
    age = data.static[:, 0].copy()
    data.static[:, 0] = np.minimum(age, 70)  # as where ages are capped
    fitted = encoder(data, "age")
    assert fitted.joint is not None
    _, made = drawn(fitted.joint, fitted)
    assert (made[:, 0] == 70).mean() == pytest.approx((data.static[:, 0] == 70).mean(), abs=0.03)


def test_the_state_holds_counts_and_no_rows() -> None:
    fitted = encoder(wards(1000), "age", "sex")
    assert fitted.joint is not None
    counts = [cell[-1] for cell in fitted.joint.cells]
    assert sum(counts) == 1000 and len(counts) <= 2 * 10 * 3


# -- the balance of classes ------------------------------------------------------------------


def test_a_mix_is_met_to_the_sequence(model: RGAN) -> None:
    for mix, ones in (("even", 50), ({"0": 3, "1": 1}, 25), ({1: 0.5}, 100)):
        labels = model.sample(100, label_mix=mix, as_sequences=True).labels
        assert (labels == 1).sum() == ones
    packer = model.trained_.encoder.packer
    for n in (1, 10, 999):
        ones = int((mixed_labels(packer, {"0": 0.9, "1": 0.1}, n) == 1).sum())
        assert abs(ones - 0.1 * n) < 1
    assert shares_of(packer, {"0": 3, "1": 1}) == {0: 0.75, 1: 0.25}


def test_ages_are_drawn_beside_the_classes_of_a_mix(model: RGAN) -> None:
    made = model.sample(2000, label_mix="even", as_sequences=True)
    died = made.labels == 1
    assert made.static[died, 0].mean() > made.static[~died, 0].mean() + 8


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"label_mix": {"0": 1, "1": 0}}, 'the share of class "1" is 0'),
        ({"label_mix": {"0": -1}}, "a positive number"),
        ({"label_mix": {"0": float("nan")}}, "a positive number"),
        ({"label_mix": {"2": 1}}, "the classes are 0, 1"),
        ({"label_mix": {}}, "at least one class"),
        ({"label_mix": "odd"}, 'or "even"'),
        ({"label_mix": "even", "labels": 1}, "one of the two"),
    ],
)
def test_a_mix_that_is_none_is_refused(model: RGAN, how: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        model.sample(5, **how)  # type: ignore[arg-type]
    assert words in caught.value.message


# -- the command line ------------------------------------------------------------------------

RUN = (*TINY, "--set", "train.figures=0", "--set", "evaluate.quick=true", "--label", "died")
TABLE = ("--id", "id", "--time", "hour", "--static", "age", "--static", "sex", "--static", "ward")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("conditions")
    data, rows = wards(120, seed=3), []
    for i in range(len(data)):
        age, ward, male = data.static[i]
        sex = None if np.isnan(male) else "FM"[int(male)]
        own = {"id": i, "age": float(age), "sex": sex, "ward": "ABC"[int(ward)]}
        own |= {"died": int(data.labels[i])}
        rows += [own | {"hour": t, "hr": float(data.values[i, t, 0])} for t in range(6)]
    pl.DataFrame(rows).write_csv(folder / "wards.csv")
    flags = ("--condition", "age,sex", "--set", "train.steps=6", "--runs", folder / "runs")
    answer = rgan("train", folder / "wards.csv", *TABLE, *RUN, *flags)
    assert answer.code == 0, answer
    return Run.open(next((folder / "runs").iterdir()))


def test_the_command_line_asks_for_conditions(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "made.csv"
    words = ("--condition", "age=50.5,sex=F", "--label-mix", "0=1,1=3", "-n", 40, "-o", target)
    answer = rgan("sample", run.path, *words)
    assert answer.code == 0, answer
    assert "(labels: 0 25.0%, 1 75.0%)" in answer.out
    made = pl.read_csv(target)
    assert set(made["age"]) == {50.5} and set(made["sex"]) == {"F"}
    assert made.group_by("id").first()["died"].sum() == 30


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--condition", "age=190"), "the range of the training data"),
        (("--condition", "sex=G"), "its levels are F, M"),
        (("--condition", "age"), "name=value"),
        (("--condition", "age=50", "--condition", "age=60"), "each name once"),
        (("--label-mix", "0=half"), 'share of class "0" is "half"'),
        (("--label-mix", "even", "--label", "1"), "one of the two"),
    ],
)
def test_bad_words_end_with_2_and_no_file(
    run: Run, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    answer = rgan("sample", run.path, *words, "-o", tmp_path / "made.npz")
    assert answer.code == 2 and said in answer.err
    assert not list(tmp_path.iterdir())


def test_such_a_run_goes_on_is_judged_and_averaged(run: Run) -> None:
    steps = ("--set", "train.steps=9")
    other = rgan("train", "--resume", run.path, "--condition", "age")
    assert other.code == 2 and "--branch --set model.condition=age" in other.err
    assert rgan("train", "--resume", run.path, *steps).code == 0
    branched = rgan("train", "--resume", run.path, "--branch", "--set", "train.steps=12")
    assert branched.code == 0, branched
    child = next(path for path in run.path.parent.iterdir() if path != run.path)
    assert load_trained(child)[0].encoder.packer.conditions == ("age", "sex")
    answer = rgan("runs", "average", run.path, child, "--runs", run.path.parent)
    assert answer.code == 0, answer
    judged = rgan("evaluate", run.path, "--metric", "tstr", "--metric", "groups")
    assert judged.code == 0, judged
    assert (run.path / "evaluation.json").exists()


def test_its_networks_are_rebuilt_from_their_description(run: Run) -> None:
    shown = rgan("runs", "show", run.path, "--architecture")
    assert shown.code == 0, shown
    spec = json.loads(run.run_json.read_text())["spec"]
    assert (spec["condition"], spec["given"]) == (6, 4)
    with pytest.raises(RunError, match="fewer columns than its parts"):
        read_spec({**spec, "given": 7}, "run.json")


def test_a_branch_may_leave_a_condition_out(run: Run, tmp_path: Path) -> None:
    words = ("--branch", "--set", "model.condition=age", "--set", "train.steps=30")
    assert rgan("train", "--resume", run.path, *words).code == 0
    newest = max(run.path.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    trained: Trained = load_trained(newest)[0]
    assert trained.encoder.packer.conditions == ("age",)
    assert trained.encoder.packer.spec.statics[-1] == ("categorical", 3)


def test_it_is_not_exported_and_says_why(run: Run, tmp_path: Path) -> None:
    answer = rgan("export", run.path, "--to", "torch", "-o", tmp_path / "made.pt2")
    assert answer.code == 2 and "conditions: age, sex" in answer.err
    assert not list(tmp_path.iterdir())


def test_a_resumed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    from rgan.runs.checkpoint import CheckpointStore
    from rgan.workflow.fit import fit, resume

    settings = {**QUICK, "model.condition": "age,sex", "train.figures": 0, "train.epochs": 2}
    whole = fit(changed(preset("default"), settings), runs=tmp_path, sequences=wards(60))
    settings["train.epochs"] = 1
    part = fit(changed(preset("default"), settings), runs=tmp_path, sequences=wards(60)).run
    resume(part, settings={"train.epochs": 2}, sequences=wards(60))
    one, two = (CheckpointStore(r.checkpoints).load().tensors["model"] for r in (whole.run, part))
    assert all(torch.equal(one[name], two[name]) for name in one)
