"""One adversarial update: the critic learns to tell, the generator learns to deceive it.

Shape letters: N sequences, V votes a sequence.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rgan.nets.base import Noise
from rgan.nets.batch import Batch, join
from rgan.nets.critic import Votes
from rgan.nets.feedback import FeedbackGenerator
from rgan.nets.layers import limit_spectral_norm
from rgan.objectives.config import ObjectiveConfig, PenaltyConfig
from rgan.objectives.losses import OBJECTIVES, weighted_mean
from rgan.objectives.penalties import penalty
from rgan.train import precision
from rgan.train.augment import augment
from rgan.train.group import ALONE, Group
from rgan.train.plan import Plan
from rgan.train.randomness import (
    Stream,
    balanced_weights,
    batch_rows,
    torch_random,
    weighted_rows,
)
from rgan.train.state import TrainState
from rgan.train.vitals import Probe


class Updater:
    """One update of critic and generator.

    Args:
        state: what is trained, in place.
        data: all training sequences.
        plan: which of them come when.
        config: what the networks minimise.
        penalties: what keeps the critic smooth.
        group: the processes that share every batch.

    Raises:
        ConfigError: the device does not have the precision, or a batch is smaller than the group.
    """

    def __init__(
        self,
        state: TrainState,
        data: Batch,
        plan: Plan,
        config: ObjectiveConfig,
        penalties: PenaltyConfig,
        group: Group = ALONE,
    ) -> None:
        self.state, self.data, self.plan = state, data, plan
        self.by_likelihood = config.name == "likelihood"
        # A critic that rests is asked nothing; its border is any.
        self.objective = OBJECTIVES.get(config.name, OBJECTIVES["bce"])
        self.config = config
        self.penalties = penalties
        self.probe: Probe | None = None
        self.last_penalty: dict[str, Tensor] = {}
        self.losses: dict[str, Tensor] = {}
        self.labels = state.generator.spec.condition - state.generator.spec.given
        self.weight_N = _class_weights(data, state.config.balance, self.labels)
        self.group, self.share = group, group.share(plan.batch)
        state.critic.total = group.total
        self.precision = precision.Precision(state.config.precision, state.device)

    def update(self, probe: Probe | None = None, examined: bool = False) -> dict[str, Tensor]:
        """Critic updates, then a generator update that reuses the last batch they made.

        Args:
            probe: measures this update.
            examined: another process measures it, and needs this one's part of the batch.

        Returns:
            Losses by name.
        """
        self.probe, self.examined = probe, examined or probe is not None
        if probe is None:
            return self._update()
        with probe.watching():
            return self._update()

    def _update(self) -> dict[str, Tensor]:
        state, k = self.state, self.state.decision.critic_steps
        if self.by_likelihood:
            return self._update_by_likelihood()
        losses: dict[str, Tensor] = {}
        for i in range(k):
            real, fake = self._batches(state.drawn, with_history=i == k - 1)
            losses |= self._update_critic(real, fake.detach(), state.drawn)
            state.drawn += 1
        losses["generator"] = self._update_generator(real, fake)
        return self._close(real, fake, losses)

    def _update_by_likelihood(self) -> dict[str, Tensor]:
        """The generator's step towards the data, and none of the critic's."""
        state, number = self.state, self.state.drawn
        generator = state.generator
        assert isinstance(generator, FeedbackGenerator)
        real = self._real(number)
        random = torch_random(state.config.seed, Stream.NOISE, number, state.device)
        with self.precision.passes():
            loss = generator.likelihood(real, random, self.share).mean()
        self.scores = real.x.new_zeros(2, self.plan.batch).unbind()
        losses = self._learn("generator", loss, {"generator": loss.detach()})
        state.drawn += 1
        fake = self._batches(number, with_history=False)[1] if self.examined else real
        return self._close(real, fake, losses)

    def _close(self, real: Batch, fake: Batch, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """What ends every update: the last batch measured, losses kept, weights averaged."""
        if self.examined:
            real, fake = (self.group.gathered(part, self.share) for part in (real, fake))
            if self.probe is not None:
                self.probe.compare(real, fake, self.labels)
        self.losses = losses
        if self.state.config.average:
            self.state.update_average()
        return losses

    def accuracy(self) -> float:
        """Share of the last update's real sequences on the real side of the critic's border."""
        real_N, fake_N = self.scores
        border = self.objective.border
        if border is None:  # only differences count: between the two means
            border = float((real_N.mean() + fake_N.mean()) / 2)
        return float((real_N > border).float().mean())

    def _batches(self, number: int, with_history: bool) -> tuple[Batch, Batch]:
        """Real sequences, and as many generated under their conditions, and of their lengths
        where the generator does not end them by itself.

        Args:
            number: the batch's number among all that this training has drawn.
            with_history: whether the generator is to learn from them.
        """
        seed, device = self.state.config.seed, self.state.device
        real = self._real(number)
        random = torch_random(seed, Stream.NOISE, number, device)
        with torch.set_grad_enabled(with_history), self.precision.passes():
            noise = self._noise(random)
            lengths_N = self.state.generator.asked(real.lengths)
            return real, self.state.generator(noise, lengths_N, real.condition)

    def _real(self, number: int) -> Batch:
        """This process's part of a batch of real sequences."""
        seed, plan = self.state.config.seed, self.plan
        if self.weight_N is None:
            place = plan.place(number)
            rows = batch_rows(seed, place, plan.batches, plan.batch, len(self.data))
        else:
            rows = weighted_rows(seed, number, plan.batch, self.weight_N)
        if self.share is not None:
            rows = rows[self.share.start : self.share.stop]
        return self.data.take(torch.from_numpy(rows).to(self.data.x.device))

    def _noise(self, random: torch.Generator) -> Noise:
        generator = self.state.generator
        if self.share is None:
            return generator.draw_noise(self.plan.batch, random)
        plain = generator.draw_plain(self.plan.batch, random)
        return generator.shape_noise(Noise(*(self.share.of(part) for part in vars(plain).values())))

    def _seen(self, real: Batch, fake: Batch, number: int) -> tuple[Batch, Batch]:
        """Both as the critic is to see them in its ``number``-th look."""
        state = self.state
        if not state.config.augment:
            return real, fake
        random = torch_random(state.config.seed, Stream.AUGMENT, number, state.device)
        both = augment(
            join([real, fake]), state.critic.spec, state.config.augment, random, self.share, 2
        )
        half = torch.arange(len(real), device=state.device)
        return both.take(half), both.take(half + len(real))

    def _judged(self, batch: Batch, groups: int = 1) -> Votes:
        """The critic's votes, computed in the precision that is set."""
        with self.precision.passes():
            votes: Votes = self.state.critic(batch, groups)
            return votes

    def _update_critic(self, real: Batch, fake: Batch, number: int) -> dict[str, Tensor]:
        state, critic = self.state, self.state.critic
        real, fake = self._seen(real, fake, 2 * number)
        on_real, on_fake = self._judged(join([real, fake]), 2).split(len(real))
        weight = on_real.weight
        per_vote = self.objective.critic(on_real.score, on_fake.score, self.config.smooth_real)
        loss = weighted_mean(per_vote, weight)
        losses = {"critic": loss.detach()}
        self.scores = on_real.mean().detach(), on_fake.mean().detach()
        if self.penalties.name != "none" and number % self.penalties.every == 0:
            random = torch_random(state.config.seed, Stream.PENALTY, number, state.device)
            scores = None if self.precision.is_low else (on_real.mean(), on_fake.mean())
            extra = penalty(self.penalties, critic, real, fake, scores, random, self.share)
            losses["penalty"] = extra.detach()
            loss = loss + extra
        losses = self._learn("critic", loss, losses)
        if "penalty" in losses:
            self.last_penalty = {"penalty": losses["penalty"]}
        if critic.config.spectral_norm:
            limit_spectral_norm(critic)
        return losses

    def _learn(self, network: str, loss: Tensor, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """A step of one network down its loss.

        Returns:
            The losses of the whole batch.
        """
        state = self.state
        optimizer: torch.optim.Optimizer = getattr(state, f"{network}_optimizer")
        optimizer.zero_grad(set_to_none=True)
        scale = 1.0
        if self.precision.scales:
            scale = state.scales.setdefault(network, precision.init())["scale"]
        learns = loss.requires_grad  # else all of it is frozen
        if learns:
            factor = scale * (1.0 if self.share is None else self.share.weight)
            (loss if factor == 1 else loss * factor).backward()
        if self.share is not None:
            losses = self._add_up(network, losses)
        if learns and (not self.precision.scales or self._unscale(network, scale)):
            self._step(network)
        return losses

    def _add_up(self, network: str, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gradients, losses and scores of the whole batch, in one message."""
        share = self.share
        assert share is not None
        beside = [torch.stack(list(losses.values())) * share.weight]
        if network == "critic":
            beside += [share.placed(score_n) for score_n in self.scores]
        added = self.group.add_up(getattr(self.state, network), torch.cat(beside))
        if network == "critic":
            real_N, fake_N = added[len(losses) :].split(share.whole)
            self.scores = real_N, fake_N
        return dict(zip(losses, added, strict=False))

    def _unscale(self, network: str, scale: float) -> bool:
        """Take the scale out of the gradients; gives whether they are to be used."""
        state = self.state
        gradients = [p.grad for p in getattr(state, network).parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, 1 / scale)
        finite = all(bool(torch.isfinite(norm)) for norm in torch._foreach_norm(gradients))
        state.scales[network] = precision.adapt(state.scales[network], finite)
        return finite or scale <= precision.SMALLEST

    def _step(self, network: str) -> None:
        optimizer = getattr(self.state, f"{network}_optimizer")
        if self.probe is None:
            optimizer.step()
            return
        with self.probe.step(network):
            optimizer.step()

    def _update_generator(self, real: Batch, fake: Batch) -> Tensor:
        state = self.state
        state.freeze("critic")  # its weights' gradients would be thrown away
        real, fake = self._seen(real, fake, 2 * state.drawn + 1)
        votes = self._judged(fake)
        score_real = votes.score
        if self.objective.needs_real:
            with torch.no_grad():
                score_real = self._judged(real).score
        per_vote = self.objective.generator(score_real, votes.score)
        loss = weighted_mean(per_vote, votes.weight)
        losses = self._learn("generator", loss, {"generator": loss.detach()})
        state.unfreeze("critic")
        return losses["generator"]


def _class_weights(data: Batch, evenness: float, labels: int) -> np.ndarray | None:
    """Row weights that even out classes; None where all are drawn alike anyway.

    Args:
        labels: how many of the condition's columns, the first ones, are the label's.
    """
    condition_NC = data.condition[:, :labels].cpu().numpy()
    one_hot = condition_NC.shape[1] > 1 and bool(((condition_NC == 0) | (condition_NC == 1)).all())
    if not evenness or not one_hot:
        return None
    class_N = condition_NC.argmax(1)
    counts = np.bincount(class_N)
    counts = counts[counts > 0]
    if counts.max() < 1.25 * counts.min():  # even already: go through the data in epochs
        return None
    return balanced_weights(class_N, evenness)
