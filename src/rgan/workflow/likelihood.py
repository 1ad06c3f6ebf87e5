"""How likely a generator holds sequences that it has not learnt from."""

from __future__ import annotations

import numpy as np
import torch

from rgan.config import Config
from rgan.data.split import Splits
from rgan.errors import ConfigError
from rgan.nets.feedback import FeedbackGenerator
from rgan.workflow.encoder import to_batch
from rgan.workflow.trained import Trained

MOST = 500
"""Sequences of the validation split that are looked at, the same ones each time."""


def likelihood(trained: Trained, splits: Splits) -> float:
    """Minus the mean logarithm of the likelihood of a step of the validation split, in nats.

    Lower is better; what zero means depends on the data. Rounded values are spread in the same way
    each time.
    """
    generator = trained.generator
    assert isinstance(generator, FeedbackGenerator)
    rows = np.random.default_rng(0).permutation(len(splits.validation))[:MOST]
    batch = to_batch(trained.encoder.encode(splits.validation[np.sort(rows)]))
    device = next(generator.parameters()).device
    learning = generator.training
    generator.eval()  # nothing is left out
    try:
        with torch.no_grad():
            random = torch.Generator(device).manual_seed(0)
            found_N = generator.likelihood(batch.to(device), random)
    finally:
        generator.train(learning)
    return float(found_N.mean())


def check_likelihood(config: Config) -> None:
    """Refuse a generator whose likelihood is not known.

    Raises:
        ConfigError: it does not read back what it makes.
    """
    if not config.generator.feedback:
        raise ConfigError(
            "monitor.metric is likelihood, and this generator's is not known",
            rule="only a generator that reads back what it has made has one",
            repair="--set generator.feedback=true, or --set monitor.metric=overall",
        )
