"""Looks at how near samples come to held-out real sequences, while a training goes.

The validation split is used and never the test split. Nothing random of the training is drawn and
no network is changed, so the weights are the same with looks and without.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any

from rgan.errors import RganError
from rgan.train import stopping
from rgan.train.events import Ended, EpochEnded, Event, Judged, Started
from rgan.workflow.likelihood import check_likelihood, likelihood
from rgan.workflow.monitor_scores import Scorer, check_metric
from rgan.workflow.session import Session
from rgan.workflow.trained import Trained

FIRST = (0.5, 2e-6)
"""Seconds that a first look is taken to cost, and those for each value of a set. It judges the
untrained generator and real sequences as well."""
PASSES = 3
"""Forward passes that learning from a sequence counts as: one, and twice that for its slopes."""


class Monitor:
    """A listener that judges samples now and then, remembers the curve, and says when to stop.

    Its memory is ``session.state.monitor``, JSON data that goes into checkpoints. It is replaced
    and never changed in place, since a checkpoint may be being written from it.

    Args:
        session: what is trained.
        emit: is told what was found, as an event.
        note: is told in words what a user should know.

    Attributes:
        asks: whether the checkpoint of this very step is to be kept as the best.
    """

    def __init__(
        self, session: Session, emit: Callable[[Event], None], note: Callable[[str], None]
    ) -> None:
        self.session, self.emit, self.note = session, emit, note
        self.config, self.rules = session.config.monitor, session.config.stopping
        fresh = stopping.init(self.config.metric) | {
            "trained": 0.0,
            "spent": 0.0,
            "cost": self._guess(),
            "looks": 0,
        }
        memory = session.state.monitor
        if memory.get("metric") != self.config.metric:  # another curve: nothing of the old one fits
            memory = {name: memory[name] for name in ("trained", "spent") if name in memory}
        session.state.monitor = fresh | memory
        self.asks, self.put_off, self.broken = False, False, ""
        self.initial: Trained | None = None
        self.scorer: Scorer | None = None
        self.clock = time.monotonic()

    def _guess(self) -> float:
        values = self.session.splits.validation.values
        return FIRST[0] + FIRST[1] * self.config.size * values.shape[1] * values.shape[2]

    @property
    def memory(self) -> stopping.Memory:
        """What it remembers."""
        return self.session.state.monitor

    @property
    def reason(self) -> str:
        """Why training is to stop, or ""."""
        return str(self.memory["stopped"])

    @property
    def kept(self) -> dict[str, Any] | None:
        """Step and value of the best look; None where there is none."""
        kept: dict[str, Any] | None = self.memory["kept"]
        return kept

    def keep(self, best: dict[str, Any] | None) -> None:
        """Take this for the best, since a better one could not be written."""
        self._remember(kept=best)

    def named(self, best: dict[str, Any]) -> dict[str, Any]:
        """The best look as it stands in run.json."""
        metric = self.config.metric
        return {"metric": metric, "value": shown(metric, best["value"]), "step": best["step"]}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, EpochEnded):
            self._count_time()
            before = self.reason
            self.session.state.monitor = stopping.adapt_losses(
                self.memory, event.losses, self.rules
            )
            if self._due(event):
                self._look(event)
            if self.reason and not before:
                self.note(f"training is stopped: {self.reason}")
            self.clock = time.monotonic()
        elif isinstance(event, Ended):
            self._count_time()

    def _start(self, event: Started) -> None:
        self.session.state.monitor = stopping.go_on(self.memory)
        plan = self.session.state.plan(len(self.session.batch))
        self.total, epochs = plan.total, plan.epoch(plan.total)
        self.every = self.config.every
        if not self.every and self.config.looks:
            self.every = max(1, math.ceil(epochs / self.config.looks))
        if event.step == 0 and self.every:  # where the curve begins, judged with the first look
            self.initial = Trained(copy.deepcopy(self.session.state.sampler), self.session.encoder)
        self.clock = time.monotonic()

    def _due(self, event: EpochEnded) -> bool:
        self.asks = False
        if not self.every or self.broken or self.reason:
            return False
        due = event.epoch % self.every == 0 or event.step >= self.total or self.put_off
        if not due:
            return False
        self.put_off = bool(self.config.budget) and self._exceeds(self.config.budget)
        return not self.put_off

    def _exceeds(self, budget: float) -> bool:
        """Whether one more look would take more of the training so far than this share.

        By the clock; likelihood, whose looks cost what learning does, by sequences that went
        through the generator: by it a training ends where it does on any machine.
        """
        memory, session = self.memory, self.session
        if self.config.metric != "likelihood":
            return bool(memory["spent"] + memory["cost"] > budget * memory["trained"])
        learnt = PASSES * session.config.train.batch_size * session.state.drawn
        judged = len(session.splits.validation) * (memory["looks"] + 1)
        return bool(memory["looks"]) and judged > budget * learnt

    def _look(self, event: EpochEnded) -> None:
        begun = time.monotonic()
        try:
            judge = self._judge()
            if self.initial is not None:
                start, self.initial = self.initial, None
                self._take_in({"epoch": 0, "step": 0, "batches": 0, "seconds": 0.0}, judge(start))
            ready = time.monotonic()
            values = judge(self.session.trained)
        except (RganError, ValueError, RuntimeError, MemoryError) as error:
            # Watching must not end what it watches.
            self.broken = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.note(f"similarity cannot be judged, and is no longer looked at: {self.broken}")
            return
        place = {"epoch": event.epoch, "step": event.step, "batches": self.session.state.drawn,
                 "seconds": round(self.memory["trained"], 3)}  # fmt: skip
        self.asks = self._take_in(place, values)
        took = time.monotonic() - begun
        cost = time.monotonic() - ready
        looks = self.memory["looks"] + 1
        self._remember(spent=self.memory["spent"] + took, cost=cost, looks=looks)
        value = values.get(self.config.metric)
        self.emit(
            Judged(event.step, event.epoch, values, self.config.metric, value, self.asks, took)
        )
        self._tell_cost()

    def _judge(self) -> Callable[[Trained], dict[str, float]]:
        """What a look computes. Likelihood takes moments, so that it is all of a look."""
        if self.config.metric == "likelihood":
            return lambda trained: {"likelihood": likelihood(trained, self.session.splits)}
        scorer = self._scorer()
        return lambda trained: scorer.score(trained.sample)

    def _take_in(self, place: dict[str, Any], values: dict[str, float]) -> bool:
        """Put a look into the curve; gives whether it is the best."""
        value = values.get(self.config.metric)
        if value is None:
            return False
        look = place | {"value": shown(self.config.metric, value)}
        self.session.state.monitor, better = stopping.adapt(self.memory, look, self.rules)
        return better

    def _scorer(self) -> Scorer:
        if self.scorer is None:
            splits = self.session.splits
            self.scorer = Scorer.of(splits.train, splits.validation, self.config.size)
            self.scorer.slow = set(self.memory.get("slow", []))
        slow = self.scorer.settle()
        if slow:
            self._remember(slow=sorted(self.scorer.slow))
            self.note(f"left out of every look, being slow on these data: {', '.join(slow)}")
        return self.scorer

    def _tell_cost(self) -> None:
        memory, budget = self.memory, self.config.budget
        if self.config.metric == "likelihood":
            return
        if budget and memory["spent"] > budget * memory["trained"] and not memory.get("told"):
            share = memory["spent"] / max(memory["trained"], 1e-9)
            self._remember(told=True)
            self.note(
                f"looks at similarity have taken {share:.0%} of the training's time, more than "
                f"monitor.budget has ({budget:.0%}); they are put off until it is less"
            )

    def _count_time(self) -> None:
        now = time.monotonic()
        self._remember(trained=self.memory["trained"] + now - self.clock)
        self.clock = now

    def _remember(self, **more: Any) -> None:
        self.session.state.monitor = {**self.memory, **more}

    def convergence(self) -> dict[str, Any] | None:
        """For run.json; see ``stopping.convergence``."""
        metric = self.config.metric
        found = stopping.convergence(self.memory["curve"], metric)
        numbers = ("value", "best", "first")
        return found and found | {name: shown(metric, found[name]) for name in numbers}


def shown(metric: str, value: float) -> float:
    """A metric's value as a distance, or the other way round: of the share of right answers, the
    share of wrong ones."""
    return 1 - value if metric == "tstr" else value


def check_monitor(session: Session) -> None:
    """Refuse before anything is written what could not be looked at.

    Raises:
        ConfigError: ``monitor.metric`` cannot be computed on these data.
    """
    if session.config.monitor.looks or session.config.monitor.every:
        if session.config.monitor.metric == "likelihood":
            check_likelihood(session.config)
            return
        splits = session.splits
        check_metric(session.config.monitor.metric, splits.train, splits.validation)
