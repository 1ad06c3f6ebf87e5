"""What values are counted in while they are generated: quantiles, or their own units."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rgan.nets.batch import Batch
from rgan.nets.config import GeneratorConfig
from rgan.nets.feedback import FeedbackGenerator
from rgan.nets.scores import LIMIT, Scores
from rgan.nets.spec import SequenceSpec
from test_feedback import made_by, stays

STEPS = 16


def lines_and_prices(n: int, seed: int) -> Tensor:
    """(n, STEPS, 2): straight lines from skewed places on, and prices whose changes are as large as
    they are."""
    rng = np.random.default_rng(seed)
    start_N1, slope_N1 = np.exp(rng.normal(size=(n, 1))), 0.2 * rng.normal(size=(n, 1))
    line_NT = start_N1 + slope_N1 * np.arange(STEPS) + 0.01 * rng.normal(size=(n, STEPS))
    price_NT = np.exp(rng.normal(size=(n, 1)) + 0.3 * rng.normal(size=(n, STEPS)).cumsum(1))
    return torch.tensor(np.stack([line_NT, price_NT], 2), dtype=torch.float32)


def test_both_tables_lead_back_and_stretch_is_their_slope() -> None:
    values_NTF = lines_and_prices(2000, 0)
    seen = torch.ones_like(values_NTF) > 0
    for table in ("bend", "straighten"):
        scores = Scores(2)
        getattr(scores, table)(values_NTF.double(), seen)
        inner_NF = values_NTF[:, 5].quantile(torch.linspace(0.02, 0.98, 200), dim=0)
        score_NF = scores(inner_NF)
        assert torch.allclose(scores.values(score_NF), inner_NF, rtol=1e-3, atol=1e-3)
        assert float(score_NF.abs().max()) <= LIMIT
        tiny = 1e-3
        slope_NF = (scores(inner_NF + tiny) - score_NF) / tiny
        told_NF = scores.stretch(inner_NF).exp()
        assert float((slope_NF / told_NF - 1).abs().median()) < 0.02
    line = Scores(2)
    line.straighten(values_NTF.double(), seen)
    even_R = torch.linspace(1.0, 3.0, 50)[:, None].expand(-1, 2)
    assert torch.allclose(line(even_R).diff(2, dim=0), torch.zeros(48, 2), atol=1e-5)
    assert float(line(values_NTF).abs().max()) < LIMIT  # the farthest value can be reached


def test_what_goes_on_along_lines_is_counted_in_its_own_units() -> None:
    for seed in (0, 1, 2):
        x_NTF = lines_and_prices(1500, seed)
        spec = SequenceSpec(steps=STEPS, values=2)
        n = len(x_NTF)
        none = torch.zeros(n, 0)
        batch = Batch(x_NTF, none, torch.full((n,), STEPS), none)
        torch.manual_seed(seed)
        generator = FeedbackGenerator(spec, GeneratorConfig(feedback=True, hidden=8)).eval()
        generator.start(batch)
        bend_FQ = generator.scores.table.diff(dim=1)
        straight_F = bend_FQ.amax(1) / bend_FQ.amin(1) < 1.001
        assert straight_F.tolist() == [True, False]
        # untrained, windows begin where real ones do, and go on along lines
        made_NTF = made_by(generator, batch, seed).x
        shares = torch.tensor([0.1, 0.5, 0.9])
        real_QF, made_QF = (x[:, 0].quantile(shares, dim=0) for x in (x_NTF, made_NTF))
        assert torch.allclose(made_QF, real_QF, rtol=0.2, atol=0.05)


def test_records_with_gaps_keep_their_quantiles() -> None:
    spec = SequenceSpec(
        steps=12, values=3, masks=(1, 2), statics=(("binary", 1), ("categorical", 3)), condition=2
    )
    generator = FeedbackGenerator(spec, GeneratorConfig(feedback=True, hidden=8))
    batch = stays(600)
    generator.start(batch)
    bent = Scores(3)
    seen_NTF = torch.ones_like(batch.x[..., :3]) > 0
    seen_NTF[..., 1:] = batch.x[..., 3:] > 0.5
    bent.bend(batch.x[..., :3].double(), seen_NTF)
    assert torch.equal(generator.scores.table, bent.table)
    assert not bool(generator.spread.wide.any())
