"""The network that is exported: plain random numbers in, sequences in original units out.

Shape letters: N sequences, T steps, F features, M mask channels, S packed static columns,
A static attributes, G global and E per-step noise, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rgan.nets.base import Noise
from rgan.transforms.conditions import ClassCondition, ContinuousCondition
from rgan.transforms.tensors import Decoder
from rgan.workflow.trained import Trained


@dataclass(frozen=True)
class Port:
    """An input or an output of the exported network.

    Args:
        name: its name.
        shape: without N, the number of sequences, which comes first.
        dtype: numpy's name.
        draw: how an input is drawn: "normal", "uniform" (in [0, 1)), "lengths", "zeros" or "label";
            "" for an output.
        meaning: in words.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    draw: str
    meaning: str


class Sampler(nn.Module):
    """``Trained`` as one module: shaping the noise, generating, and undoing the scaling.

    Args:
        trained: a generator on the CPU, with its encoder.
    """

    one_hot: Tensor
    known_lengths: Tensor

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        encoder = trained.encoder
        self.generator, self.spec = trained.generator, trained.generator.spec
        self.config = trained.generator.config
        config = encoder.config
        self.decoder = Decoder(
            encoder.pipeline, encoder.packer, clip=config.clip, rounding=config.round
        )
        self.labels = encoder.packer.labels
        self.reads_labels = trained.generator.reads_labels
        self.ends = trained.generator.ends
        self.register_buffer("one_hot", torch.eye(self.labels.columns))
        self.register_buffer("known_lengths", torch.arange(self.spec.steps + 1))

    def forward(
        self,
        *,
        lengths: Tensor,
        label: Tensor | None = None,
        noise_global: Tensor | None = None,
        noise_step: Tensor | None = None,
        mask_uniform: Tensor | None = None,
        static_uniform: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Sequences of these lengths and labels; ``inputs`` and ``outputs`` say what is what.

        An impossible length or class is looked up where there is nothing, so that any runtime stops
        instead of making something of it.
        """
        t = self.spec.steps
        least = 0 if self.ends else 1
        lengths = self.known_lengths.index_select(0, torch.where(lengths < least, t + 1, lengths))

        def given(part: Tensor | None, *shape: int) -> Tensor:
            if part is not None:
                return part
            return torch.zeros(lengths.shape[0], *shape, dtype=torch.float32)

        plain = Noise(
            given(noise_global, self.generator.sizes.whole),
            given(noise_step, t, self.generator.sizes.steps),
            given(mask_uniform, t, self.generator.sizes.masks),
            given(static_uniform, self.generator.sizes.static),
        )
        batch = self.generator(
            self.generator.shape_noise(plain), lengths, self._condition(label, lengths)
        )
        valid_NT = torch.arange(t)[None, :] < batch.lengths[:, None]
        values_NTF, observed_NTF, static_NA = self.decoder(batch.x, batch.static, valid_NT)
        made = {"values": values_NTF, "observed": observed_NTF, "lengths_out": batch.lengths}
        if static_NA is not None:
            made["static"] = static_NA
        if self.reads_labels:
            made["label_out"] = batch.condition[:, : self.spec.classes].argmax(1)
        return made

    def _condition(self, label: Tensor | None, lengths: Tensor) -> Tensor:
        labels = self.labels
        if isinstance(labels, ClassCondition) and label is not None:
            k = labels.columns
            return self.one_hot.index_select(0, torch.where(label < 0, k, label))
        if isinstance(labels, ContinuousCondition) and label is not None:
            return ((label - labels.mean) / labels.std).to(torch.float32)[:, None]
        return torch.zeros(lengths.shape[0], self.spec.condition, dtype=torch.float32)

    def inputs(self) -> tuple[Port, ...]:
        """What this model needs to be given; what it has no use for is left out."""
        spec, generator, t = self.spec, self.generator, self.spec.steps
        own = (t, self.generator.sizes.steps)
        classes = isinstance(self.labels, ClassCondition)
        random = any(kind != "continuous" for kind, _ in spec.statics)
        sequence = "one number vector that a whole sequence shares"
        ports = (
            Port(
                *("lengths", (), "int64", "zeros" if self.ends else "lengths"),
                f"steps of each sequence, 1 to {t}" + "; 0: it ends by itself" * self.ends,
            ),
            Port(
                *("label", (), "int64" if classes else "float64", "label"),
                "place in the list of classes, from 0" if classes else "value of the condition",
            ),
            Port("noise_global", (generator.sizes.whole,), "float32", "normal", sequence),
            Port("noise_step", own, "float32", "normal", "one for each step"),
            Port(
                *("mask_uniform", (t, generator.sizes.masks), "float32", "uniform"),
                "decides between observed and not" + ", and when to end" * self.ends,
            ),
            Port(
                *("static_uniform", (generator.sizes.static,), "float32", "uniform"),
                "decides between the levels of static attributes",
            ),
        )
        absent = {"label"} if not spec.condition or self.reads_labels else set()
        absent |= set() if random else {"static_uniform"}
        return tuple(port for port in ports if 0 not in port.shape and port.name not in absent)

    def outputs(self) -> tuple[Port, ...]:
        """What comes out, in this order."""
        t, f, a = self.spec.steps, self.spec.values, len(self.decoder.static_info)
        ports = (
            Port("values", (t, f), "float32", "", "original units; NaN where not observed"),
            Port("observed", (t, f), "bool", "", "whether there is a value"),
            Port("lengths_out", (), "int64", "", "steps of each sequence"),
            Port("static", (a,), "float32", "", "levels by their place from 0; NaN: not known"),
            Port("label_out", (), "int64", "", "place in the list of classes, from 0"),
        )
        absent = (set() if a else {"static"}) | (set() if self.reads_labels else {"label_out"})
        return tuple(port for port in ports if port.name not in absent)
