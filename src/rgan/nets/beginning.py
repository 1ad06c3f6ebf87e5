"""What a generator that reads back what it has made knows of the data before it is trained.

Shape letters: N sequences, T steps, F features, J of them without levels, R rows of values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rgan.nets.autoregression import ROWS
from rgan.nets.batch import Batch
from rgan.nets.decisions import where_observed
from rgan.nets.past import history
from rgan.nets.spread import goes_on

if TYPE_CHECKING:
    from rgan.nets.feedback import FeedbackGenerator

CLEARLY = 0.05
"""Nats that a straight table must be better by to take the place of quantiles."""


@torch.no_grad()
def begin(generator: FeedbackGenerator, batch: Batch) -> None:
    """Fit the tables of scores, the label's reader, the static attributes, the linear guess, first
    steps, how often levels follow each other and how often features are measured again."""
    g, f = generator, generator.spec.values
    x_NTF, valid_NT = batch.x[..., :f], batch.valid > 0.5
    seen_NTF = where_observed(batch.x[..., f:], batch.valid[..., None], g.spec) > 0.5
    on_F = torch.zeros(f, dtype=torch.bool, device=x_NTF.device)
    if g.masks is None:  # what comes and goes is never followed exactly
        on_F = goes_on(x_NTF, seen_NTF)
        g.spread.fit(x_NTF, seen_NTF, on_F, g.lattice[0], g.code.columns)
    random = torch.Generator(x_NTF.device).manual_seed(0)
    read_NTF, target_NTF = g.spread(x_NTF, g.lattice[0], random)
    target_NTF = target_NTF.double()
    g.normal.bend(target_NTF, seen_NTF)
    g.scores.load_state_dict(g.normal.state_dict())
    if bool(on_F.any()):
        _straighten(g, on_F, read_NTF, target_NTF, seen_NTF, valid_NT)
    g.labels.fit(g.scores(x_NTF), seen_NTF, batch)
    g.statics.fit(replace(batch, condition=g.labels.hidden(batch.condition)))
    hot_NTL = g.code.hot(x_NTF, seen_NTF)
    if g.levels is not None:
        g.levels.fit(hot_NTL, g.code.before(hot_NTL))
    if g.values is not None:
        first_NG = torch.cat([g.labels.hidden(batch.condition), hot_NTL[:, 0]], dim=1)
        guess = g.values.guess(g.scores(read_NTF), g.scores(target_NTF), seen_NTF, valid_NT)
        g.values.start(guess, first_NG, g.normal(target_NTF[:, 0]))
    if g.masks is not None:
        past = history(torch.zeros_like(x_NTF), seen_NTF.float())
        g.masks.hazards.fit(past.age, batch.x[..., f:], batch.valid)
    if g.ending is not None:
        label_NK = g.labels.hidden(batch.condition)[:, : g.spec.classes]
        g.ending.start(batch.lengths, label_NK)


def _straighten(
    g: FeedbackGenerator,
    some_F: Tensor,
    read_NTF: Tensor,
    target_NTF: Tensor,
    seen_NTF: Tensor,
    valid_NT: Tensor,
) -> None:
    """Give those of some features a straight table that are foretold better by one: a line in a
    feature's own units is none in normal scores."""
    if g.values is None:
        return
    bent_FQ, bent_J = g.scores.table.clone(), _missed(g, read_NTF, target_NTF, seen_NTF, valid_NT)
    g.scores.straighten(target_NTF, seen_NTF)
    straight_J = _missed(g, read_NTF, target_NTF, seen_NTF, valid_NT)
    better_F = torch.zeros(len(bent_FQ), dtype=torch.bool, device=bent_FQ.device)
    better_F[g.code.others] = straight_J < bent_J - CLEARLY
    g.scores.table.copy_(torch.where((better_F & some_F)[:, None], g.scores.table, bent_FQ))


def _missed(
    g: FeedbackGenerator, read_NTF: Tensor, target_NTF: Tensor, seen_NTF: Tensor, valid_NT: Tensor
) -> Tensor:
    """(J,) how far a linear guess in the present scores misses, as the logarithm of a deviation in
    the data's units."""
    assert g.values is not None
    guess = g.values.guess(g.scores(read_NTF), g.scores(target_NTF), seen_NTF, valid_NT)
    some_RF = target_NTF[valid_NT][:: max(1, int(valid_NT.sum()) // ROWS)]
    return guess.unit[1].log() - g.values.own(g.scores.stretch(some_RF)).mean(0)
