"""A generator that reads back what it has made, so that the likelihood of data is known.

Shape letters: N sequences, T steps, F features, M masks, S static and C condition columns,
R = S + C, I inputs of the recurrence, H its states, K parts of a mixture, L levels of features that
have few. While it draws, sequences stand last, as in ``stepping``.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from rgan.nets.base import BaseGenerator, Noise, NoiseSizes
from rgan.nets.batch import Batch
from rgan.nets.beginning import begin
from rgan.nets.config import GeneratorConfig
from rgan.nets.decisions import on_lattice
from rgan.nets.ending import EndingHead, Ends
from rgan.nets.free import FreeValues
from rgan.nets.labels import LabelReader
from rgan.nets.layers import POSITION_CHANNELS, full, full_precision, positions
from rgan.nets.levels import LevelCode, LevelHead
from rgan.nets.past import Past, history
from rgan.nets.rhythm import Rhythm
from rgan.nets.scores import Scores
from rgan.nets.share import Share, drawn
from rgan.nets.spec import SequenceSpec
from rgan.nets.spread import Spread
from rgan.nets.statics import StaticCopula
from rgan.nets.stepping import State, Stepper, first_state, linear
from rgan.nets.together import MaskHead


class FeedbackGenerator(BaseGenerator):
    """Each step is drawn from what the recurrence knows of all steps before it.

    At a step it first decides what is observed, one feature after the other in the light of those
    before (a fully visible sigmoid belief network, Neal 1992), then draws values as mixtures of
    normal distributions in scores of them, likewise in the light of those before; before these, the
    levels of features that have few, by softmax (``LevelHead``). Where nothing is missing, the
    first step has a density of its own (``Opening``). So every sequence has a likelihood, which
    ``likelihood`` gives and a training can maximise; and what is drawn is a function of noise with
    a slope, by which a critic can teach it too.

    Output fed back to a recurrent GAN: Mogren 2016 (C-RNN-GAN, arXiv 1611.09904). Likelihood and a
    critic for one generator: Grover et al. 2018 (Flow-GAN, arXiv 1705.08868).
    """

    def __init__(self, spec: SequenceSpec, config: GeneratorConfig) -> None:
        f, m, ends = spec.values, len(spec.masks), int(spec.variable_length)
        super().__init__(spec, config, NoiseSizes(spec.static + spec.classes, 2 * f, m + ends, 0))
        row = spec.static + spec.condition
        self.code = LevelCode(spec.levels, f)
        few = self.code.size
        size = (6 if m else 4) * f + m + row + POSITION_CHANNELS + few
        h = config.hidden
        self.statics = StaticCopula(spec)
        self.labels = LabelReader(spec)
        self.first = nn.Linear(row, self._parts * h * config.layers) if row else None
        self.read = nn.Linear(size, h)
        kinds: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
        self.recurrence = kinds[config.cell](h, h, config.layers, batch_first=True)
        self.masks = MaskHead(size, h, spec.steps, spec.masks) if m else None
        self.levels = LevelHead(h + size + m, h, self.code) if few else None
        opens = not m and row == spec.classes
        levels, before = row + few if opens else None, slice(h, h + 2 * f)
        known = h + size + m + few
        self.values = FreeValues(known, h, self.code, before, levels) if self.code.free else None
        self.ending = EndingHead(h + size + m + 4 * f + 2 * few, h, spec) if ends else None
        self.scores, self.normal = Scores(f), Scores(f)
        self.spread = Spread(f)
        self._add_lattice()

    def start(self, batch: Batch) -> None:
        """Fit everything that is known before the first step of training (``begin``)."""
        begin(self, batch)

    def likelihood(
        self, real: Batch, random: torch.Generator, share: Share | None = None
    ) -> Tensor:
        """(N,) minus the logarithm of the likelihood of each sequence, given its condition and
        static attributes; for a step, in nats.

        Args:
            random: moves values by less than is seen (``Spread``), and leaves units out; the same
                state gives the same numbers.
            share: which sequences of a larger batch these are.
        """
        f, valid_NT1 = self.spec.values, real.valid[..., None]
        masks_NTM = real.x[..., f:]
        seen_NTF = self._observed(masks_NTM, valid_NT1)
        with torch.no_grad(), full_precision(real.x.device):
            both = self.spread(real.x[..., :f], self.lattice[0], random, share)
            score_NTF, target_NTF = map(self.scores, both)
            past = history(score_NTF, seen_NTF)
            hot_NTL = self.code.hot(real.x[..., :f], seen_NTF)
            last_NTL = self.code.before(hot_NTL)
        row_NR = torch.cat([real.static, self.labels.hidden(real.condition)], dim=1)
        x_NTI = self._inputs(past, masks_NTM, row_NR, real.lengths, last_NTL)
        read_NTH = silu(self.read(x_NTI))
        kept_NTH, after_NTH, in_head_NTH = (self._kept(read_NTH, random, share) for _ in range(3))
        states_NTH, _ = self.recurrence(read_NTH * kept_NTH, self._begin(row_NR))
        states_NTH = states_NTH * after_NTH
        loss_NT = torch.zeros_like(real.valid)
        with full_precision(states_NTH.device):
            seen_NTK = torch.cat([full(states_NTH), x_NTI], dim=2)
            if self.masks is not None:
                loss_NT = self.masks.likelihood(x_NTI, masks_NTM, past.age)
            seen_NTK = torch.cat([seen_NTK, masks_NTM], dim=2)
            if self.levels is not None:
                loss_NT = loss_NT + self.levels.likelihood(seen_NTK, hot_NTL, last_NTL)
                seen_NTK = torch.cat([seen_NTK, hot_NTL], dim=2)
            if self.values is not None:
                own_NT = self.values.likelihood(seen_NTK, target_NTF, seen_NTF, past, in_head_NTH)
                if self.values.opening is not None:
                    first_NG = torch.cat([row_NR, hot_NTL[:, 0]], dim=1)
                    own_NT = self.values.opened(own_NT, first_NG, self.normal(both[1][:, 0]))
                loss_NT = loss_NT + own_NT
            if self.ending is None:
                return (loss_NT * real.valid).sum(1) / real.valid.sum(1)
            known = past.next(score_NTF, seen_NTF).inputs()
            after_NTK = torch.cat([seen_NTK, *known, self.code.after(hot_NTL, last_NTL, 2)], dim=2)
            label_NK = self.labels.hidden(real.condition)[:, : self.spec.classes]
            loss_NT = loss_NT + self.ending.likelihood(after_NTK, real.lengths, label_NK)
            return self.ending.per_step(loss_NT * real.valid)

    def forward(self, noise: Noise, lengths_N: Tensor, condition_NC: Tensor) -> Batch:
        """A batch of sequences under these conditions; where labels are read (``LabelReader``), the
        batch's condition has those that were read.

        Args:
            lengths_N: of each sequence; 0 where it ends by itself (``ends``).
        """
        spec, f = self.spec, self.spec.values
        known_NC = self.labels.hidden(condition_NC)
        static_NS = self.statics(noise.whole[:, : spec.static], known_NC)
        row_NR = torch.cat([static_NS, known_NC], dim=1)
        recur = Stepper(self.recurrence, self._begin(row_NR), len(row_NR))
        normal_TEN, chance_TMN = (
            x.permute(1, 2, 0).contiguous() for x in (noise.steps, noise.masks)
        )
        place_TPN = self._place(lengths_N, noise.steps.dtype).permute(1, 2, 0)
        ends = Ends(self.ending, lengths_N, known_NC[:, : spec.classes])
        zero_FN, masks_MN = (
            torch.zeros_like(normal_TEN[0, :f]),
            torch.zeros_like(chance_TMN[0, : len(spec.masks)]),
        )
        past, seen_FN = Past.none(zero_FN), torch.ones_like(zero_FN)
        rhythm = Rhythm.none(masks_MN.T)
        hot_LN = last_LN = normal_TEN.new_zeros(self.code.size, len(row_NR))
        whole_1N1 = seen_FN.T[None, :, :1]
        columns, masks = [], []
        for t in range(spec.steps):
            x_IN = torch.cat([*self._known(past), masks_MN, row_NR.T, place_TPN[t], last_LN])
            known_KN = torch.cat([recur(silu(linear(self.read, x_IN))), x_IN])
            if self.masks is not None:
                chance_MN = chance_TMN[t, : len(masks_MN)]
                masks_MN, rhythm = self.masks.draw(x_IN, chance_MN, past.age, t, rhythm)
                known_KN = torch.cat([known_KN, masks_MN])
                seen_FN = self._observed(masks_MN.T[None], whole_1N1)[0].T
            with full_precision(known_KN.device):
                known_KN = full(known_KN)
                if self.levels is not None:
                    columns_J = self.code.columns
                    lot = (normal_TEN[t][columns_J], seen_FN[columns_J], last_LN)
                    hot_LN = self.levels.draw(known_KN, *lot)
                    known_KN = torch.cat([known_KN, hot_LN])
                    last_LN = self.code.after(hot_LN, last_LN, 0)
                free_FN = None
                if self.values is not None:
                    gaps_FN = None if self.masks is None else seen_FN
                    u_JN = self.values.draw(known_KN, normal_TEN[t], gaps_FN, past)
                    free_FN = self._unscored(self.scores, u_JN)
                    if t == 0 and self.values.opening is not None:
                        first_GN = torch.cat([row_NR.T, hot_LN])
                        free_FN = self._opened(free_FN, normal_TEN[t], first_GN)
                values_NF = self.code.values(hot_LN, free_FN).T
                past = past.next(self.scores(values_NF).T, seen_FN)
                if self.ending is not None:
                    after_KN = torch.cat([known_KN, *past.inputs(), last_LN])
                    ends.after(after_KN, chance_TMN[t, -1])
            columns.append(values_NF.T)
            masks.append(masks_MN)
        values_NTF, masks_NTM = (torch.stack(x).permute(2, 0, 1) for x in (columns, masks))
        batch = Batch(values_NTF, static_NS, ends.lengths(), condition_NC)
        valid_NT1 = ends.keep(batch.valid)[..., None]
        masks_NTM = masks_NTM * valid_NT1
        seen_NTF = self._observed(masks_NTM, valid_NT1)
        batch = batch.with_content(torch.cat([values_NTF * seen_NTF, masks_NTM], dim=2), static_NS)
        if not spec.classes:
            return batch
        score_NTF = self.scores(values_NTF)
        normal_NK = noise.whole[:, spec.static :]
        return replace(batch, condition=self.labels(normal_NK, score_NTF, seen_NTF, batch))

    def _kept(self, like: Tensor, random: torch.Generator, share: Share | None) -> Tensor | float:
        """What units are multiplied with, so that some are left out (Srivastava et al. 2014);
        1 where none are, as outside training."""
        leave = self.config.dropout
        if not (leave and self.training):
            return 1.0
        return (drawn("uniform", like.shape, random, share) >= leave) / (1 - leave)

    def _unscored(self, scores: Scores, u_JN: Tensor) -> Tensor:
        """(J, N) values of the features without levels, as they can be."""
        columns, lattice = None, self.lattice
        if self.levels is not None:
            columns, lattice = self.code.others, lattice[:, self.code.others]
        return on_lattice(scores.values(u_JN.T, columns), lattice).T

    def _opened(self, free_JN: Tensor, normal_EN: Tensor, first_GN: Tensor) -> Tensor:
        """These values of a first step, or the opening's where it fits."""
        assert self.values is not None and self.values.opening is not None
        first_JN = self._unscored(self.normal, self.values.draw_first(normal_EN, first_GN))
        return torch.where(self.values.opening.fits, first_JN, free_JN)

    @property
    def reads_labels(self) -> bool:
        """Whether a label is drawn after the sequence, in place of one that is asked for."""
        return bool(self.labels.reads)

    @property
    def ends(self) -> bool:
        """Whether it ends sequences by itself, where a length of 0 is asked for."""
        return self.ending is not None

    @property
    def _parts(self) -> int:
        """An LSTM's state has two parts, a GRU's one."""
        return 2 if self.config.cell == "lstm" else 1

    def _begin(self, row_NR: Tensor) -> State | None:
        """The recurrence's first state."""
        if self.first is None:
            return None
        return first_state(self.first(row_NR), self.config.layers, self._parts)

    def _inputs(
        self, past: Past, masks_NTM: Tensor, row_NR: Tensor, lengths_N: Tensor, last_NTL: Tensor
    ) -> Tensor:
        """(N, T, I) what is known before each step."""
        steps = self.spec.steps
        before_NTM = nn.functional.pad(masks_NTM[:, :-1], (0, 0, 1, 0))
        row_NTR = row_NR[:, None].expand(-1, steps, -1)
        place_NTP = self._place(lengths_N, masks_NTM.dtype)
        parts = [*self._known(past), before_NTM, row_NTR, place_NTP, last_NTL]
        return torch.cat(parts, dim=2)

    def _known(self, past: Past) -> list[Tensor]:
        """What is read of the steps before; (..., F) each."""
        return past.inputs() + (past.gaps() if self.masks is not None else [])

    def _place(self, lengths_N: Tensor, dtype: torch.dtype) -> Tensor:
        """(N, T, P) where each step stands; it must not tell when a sequence will end."""
        longest_N = torch.full_like(lengths_N, self.spec.steps)
        return positions(longest_N, self.spec.steps, dtype)
