"""Undoing the transforms with tensors alone, so that it can be exported with a generator.

Shape letters: N sequences, T steps, F features, D packed channels, S packed static columns,
K static columns on the way, A static attributes.

``Decoder`` does what ``Packer.unpack``, ``Pipeline.invert`` and ``Pipeline.like_data`` do, with the
same operations in the same order and precision: each part reckons in float64 and gives float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rgan.errors import DataError
from rgan.sequences import Static
from rgan.transforms.base import Transform
from rgan.transforms.packing import Packer
from rgan.transforms.pipeline import Pipeline
from rgan.transforms.ranges import Range
from rgan.transforms.scale import Affine, Identity, PixelRange, StaticScale
from rgan.transforms.sequence import Differences, LocalMax
from rgan.transforms.statics import StaticPacker


class Decoder(nn.Module):
    """Generated arrays to original units, limited and rounded as the data is.

    Args:
        pipeline, packer: fitted.
        clip, rounding: as ``clip`` and ``round`` of ``TransformConfig``.

    Raises:
        DataError: the pipeline has a transform that has no twin here.
    """

    place: Tensor

    def __init__(self, pipeline: Pipeline, packer: Packer, *, clip: bool, rounding: bool) -> None:
        super().__init__()
        self.f, self.masks = packer.spec.values, packer.spec.masks
        # Of each feature: 0 where it is observed within the length, else 1 + the place of its mask.
        place = [self.masks.index(f) + 1 if f in self.masks else 0 for f in range(self.f)]
        self.register_buffer("place", torch.tensor(place))
        self.statics = _Statics(packer.statics)
        info = list(packer.static_info)
        undo: list[nn.Module] = []
        for transform in reversed(pipeline.steps):
            if not isinstance(transform, Identity):
                part, info = _twin(transform, info)
                undo.append(part)
        self.undo = nn.ModuleList(undo)
        self.static_info = tuple(info)
        spans = pipeline.ranges.static
        self.coded = tuple(span is None for span in spans)
        free: Range = (None, None, None)
        self.limit = _Limit(pipeline.ranges.values, clip, rounding)
        self.limit_static = _Limit([span or free for span in spans], clip, rounding)

    def forward(
        self, x_NTD: Tensor, static_NS: Tensor, valid_NT: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (N, T, F), NaN where not observed; what is observed; attributes (N, A) or None.

        Args:
            x_NTD, static_NS: as in ``Batch``.
            valid_NT: bool, the steps within the lengths.
        """
        seen = valid_NT[:, :, None]
        if self.masks:
            seen = torch.cat([seen, seen & (x_NTD[:, :, self.f :] >= 0.5)], dim=2)
        observed_NTF = seen.index_select(2, self.place)
        values_NTF, static_NK = x_NTD[:, :, : self.f], self.statics(static_NS)
        for part in self.undo:
            values_NTF, static_NK = part(values_NTF, observed_NTF, static_NK)
        values_NTF = self.limit(values_NTF)
        values_NTF = torch.where(observed_NTF, values_NTF, torch.full_like(values_NTF, torch.nan))
        if static_NK is not None and not all(self.coded):
            known_NK = ~torch.isnan(static_NK)
            # Runtimes do not agree on what limiting makes of NaN, so NaN is put back.
            limited_NK = self.limit_static(torch.where(known_NK, static_NK, 0.0))
            static_NK = torch.where(known_NK, limited_NK, torch.full_like(limited_NK, torch.nan))
        return values_NTF, observed_NTF, static_NK


class _Statics(nn.Module):
    """``StaticPacker.unpack``."""

    def __init__(self, packer: StaticPacker) -> None:
        super().__init__()
        self.outputs = [
            (a.kind, 2 if a.kind == "binary" else len(a.levels), int(m))
            for a, m in zip(packer.info, packer.missing, strict=True)
        ]

    def forward(self, static_NS: Tensor) -> Tensor | None:
        columns: list[Tensor] = []
        at = 0
        for kind, levels, missing in self.outputs:
            size = 1 if kind == "binary" and not missing else levels + missing
            if kind == "continuous":
                column_N, size = static_NS[:, at], 1 + missing
                if missing:
                    unknown_N = torch.full_like(column_N, torch.nan)
                    column_N = torch.where(static_NS[:, at + 1] >= 0.5, column_N, unknown_N)
            elif size == 1:
                column_N = (static_NS[:, at] >= 0.5).to(static_NS.dtype)
            else:
                column_N = static_NS[:, at : at + size].argmax(dim=1).to(static_NS.dtype)
                if missing:
                    unknown_N = torch.full_like(column_N, torch.nan)
                    column_N = torch.where(column_N == levels, unknown_N, column_N)
            columns.append(column_N)
            at += size
        return torch.stack(columns, dim=1) if columns else None


class _Scale(nn.Module):
    """``x * factor + offset`` on the values; also the pixels' ``(x + 1) * half + low``."""

    def __init__(self, factor: Sequence[float], offset: Sequence[float], plus: float = 0) -> None:
        super().__init__()
        self.factor, self.offset = (
            _numbers(self, "factor", factor),
            _numbers(self, "offset", offset),
        )
        self.plus = plus

    def forward(
        self, values_NTF: Tensor, observed_NTF: Tensor, static_NK: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        wide_NTF = values_NTF.to(torch.float64) + self.plus
        return (wide_NTF * self.factor + self.offset).to(torch.float32), static_NK


class _ScaleStatic(_Scale):
    """The same on the static columns."""

    def forward(
        self, values_NTF: Tensor, observed_NTF: Tensor, static_NK: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        if static_NK is None:
            return values_NTF, None
        wide_NK = static_NK.to(torch.float64)
        return values_NTF, (wide_NK * self.factor + self.offset).to(torch.float32)


class _FromColumns(nn.Module):
    """A transform that takes F static columns of its own away again.

    Args:
        taken, kept: the places of its columns and of the others.
        fill: (F,) what stands in for one that is not known.
    """

    def __init__(self, taken: list[int], kept: list[int], fill: Sequence[float]) -> None:
        super().__init__()
        self.taken, self.kept = taken, kept
        self.fill = _numbers(self, "fill", fill)

    def forward(
        self, values_NTF: Tensor, observed_NTF: Tensor, static_NK: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        assert static_NK is not None  # the packer has the columns that applying has added
        own_NF = torch.stack([static_NK[:, place] for place in self.taken], dim=1)
        fill_F = self.fill.to(torch.float32)
        own_N1F = torch.where(torch.isnan(own_NF), fill_F, own_NF).to(torch.float64)[:, None, :]
        kept = [static_NK[:, place] for place in self.kept]
        changed_NTF = self.change(values_NTF.to(torch.float64), observed_NTF, own_N1F)
        return changed_NTF.to(torch.float32), torch.stack(kept, dim=1) if kept else None

    def change(self, values_NTF: Tensor, observed_NTF: Tensor, own_N1F: Tensor) -> Tensor:
        """The values in float64 without their columns' part."""
        raise NotImplementedError


class _LocalMax(_FromColumns):
    def change(self, values_NTF: Tensor, observed_NTF: Tensor, own_N1F: Tensor) -> Tensor:
        return values_NTF * torch.exp(own_N1F)


class _Differences(_FromColumns):
    def change(self, values_NTF: Tensor, observed_NTF: Tensor, own_N1F: Tensor) -> Tensor:
        steps_NTF = torch.where(observed_NTF, values_NTF, torch.zeros_like(values_NTF))
        return own_N1F + steps_NTF.cumsum(dim=1)


class _Limit(nn.Module):
    """``Ranges.limit`` on (..., K)."""

    def __init__(self, spans: Sequence[Range], clip: bool, rounding: bool) -> None:
        super().__init__()
        low = [-torch.inf if span[0] is None else span[0] for span in spans]
        high = [torch.inf if span[1] is None else span[1] for span in spans]
        self.clips = clip and bool(spans)
        self.rounds = rounding and any(span[2] is not None for span in spans)
        self.low, self.high = _numbers(self, "low", low), _numbers(self, "high", high)
        self.ten = _numbers(self, "ten", [10.0 ** (span[2] or 0) for span in spans])
        self.register_buffer("free", torch.tensor([span[2] is None for span in spans]))

    def forward(self, values: Tensor) -> Tensor:
        if self.clips:
            values = torch.maximum(values, self.low.to(values.dtype))
            values = torch.minimum(values, self.high.to(values.dtype))
        if not self.rounds:
            return values
        rounded = (torch.round(values.to(torch.float64) * self.ten) / self.ten).to(torch.float32)
        rounded = torch.where(rounded == 0, torch.zeros_like(rounded), rounded)  # 0, never -0
        assert isinstance(self.free, Tensor)
        return torch.where(self.free, values, rounded)


def _twin(transform: Transform, info: list[Static]) -> tuple[nn.Module, list[Static]]:
    """The part that undoes a transform, and the static columns that are left after it."""
    if isinstance(transform, StaticScale):
        return _ScaleStatic(transform.factor, transform.offset), info
    if isinstance(transform, Affine):
        return _Scale(transform.factor, transform.offset), info
    if isinstance(transform, PixelRange):
        half = (transform.high - transform.low) / 2
        return _Scale([half], [transform.low], plus=1), info
    if isinstance(transform, LocalMax | Differences):
        names = [static.name for static in info]
        taken = [names.index(name) for name in transform.columns]
        kept = [place for place in range(len(info)) if place not in taken]
        kind = _LocalMax if isinstance(transform, LocalMax) else _Differences
        return kind(taken, kept, transform.fill), [info[place] for place in kept]
    raise DataError(
        f'the transform "{transform.name}" cannot be exported',
        rule="what is exported undoes the transforms with tensors alone",
    )


def _numbers(module: nn.Module, name: str, numbers: Sequence[float]) -> Tensor:
    """Registers float64 numbers under a name and gives them."""
    tensor = torch.tensor(list(numbers), dtype=torch.float64)
    module.register_buffer(name, tensor)
    return tensor
