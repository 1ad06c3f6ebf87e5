"""Are values in the units of the training data? By what is usual there, feature by feature."""

from __future__ import annotations

import numpy as np

from rgan.errors import DataError
from rgan.layouts import is_nominal
from rgan.sequences import Sequences
from rgan.workflow.imputer import Usual

FAR = 4.0
"""Training deviations between the medians that mean another unit."""
NEAR = 1.5
"""The same, where the spread is more than ``WIDER`` times another one too."""
WIDER = 15.0
FEW = 5
"""Of fewer sequences than these the odd units are only told: one patient may be odd."""


def odd_units(sequences: Sequences, usual: Usual) -> list[str]:
    """Sentences on features whose values lie where the training data has hardly any.

    Raises:
        DataError: of ``FEW`` sequences or more.
    """
    notes: list[str] = []
    shared = sequences.is_image
    for f, name in enumerate(sequences.feature_names[:1] if shared else sequences.feature_names):
        part = slice(None) if shared else slice(f, f + 1)
        seen = sequences.observed[:, :, part]
        values = sequences.values[:, :, part][seen].astype(np.float64)
        if not len(values) or is_nominal(sequences.layout, name):
            continue
        away = abs(float(np.median(values)) - usual.mean_F[f]) / usual.std_F[f]
        spread = max(float(values.std()), 1e-12) / usual.std_F[f]
        other = not 1 / WIDER < spread < WIDER and values.std() > 0
        if not (away > FAR or (away > NEAR and other) or (shared and other)):
            continue
        text = f'"{"pixels" if shared else name}": the median lies {away:.1f} deviations from the '
        text += f"training data's mean of {usual.mean_F[f]:.4g}, and the spread is {spread:.2g} "
        text += "times its own"
        if int(seen.any(axis=(1, 2)).sum()) >= FEW:
            raise DataError(
                text,
                rule="values are in the units of the data that the run was trained on",
                reason="in another unit they would be taken for what they are not",
                repair="convert the values to the run's unit",
            )
        notes.append(f"careful: {text}: is it another unit?")
    return notes
