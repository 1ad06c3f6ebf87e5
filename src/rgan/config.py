"""The whole configuration of a run, composed of its owners' sections, and its presets.

Each section is a dataclass beside the code that it configures; here they are put together, changed
by ``section.key=value``, and turned to plain data and back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import pydantic
from pydantic.dataclasses import dataclass

from rgan.data.config import DataConfig
from rgan.errors import ConfigError, nearest
from rgan.evaluate.config import EvaluateConfig
from rgan.nets.config import CriticConfig, GeneratorConfig
from rgan.objectives.config import ObjectiveConfig, PenaltyConfig
from rgan.train.config import GFactorConfig, HealthConfig, OptimizerConfig, TrainConfig
from rgan.train.monitor_config import MonitorConfig, StoppingConfig
from rgan.transforms.config import TransformConfig

ModelKind = Literal["auto", "rgan", "rcgan"]


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class ModelConfig:
    """Section ``[model]``."""

    kind: ModelKind = "auto"
    """rgan ignores labels, rcgan is conditioned on them, auto is rcgan where there are labels or
    conditions."""

    condition: tuple[str, ...] = ()
    """Static attributes that are conditions of generator and critic beside the label, instead of
    being generated: samples can be asked for with given values (age, sex)."""

    def __post_init__(self) -> None:
        twice = [name for name in self.condition if self.condition.count(name) > 1]
        if twice:
            raise ConfigError(
                f'model.condition names "{twice[0]}" twice',
                rule="each condition once",
                repair=f"--condition {','.join(dict.fromkeys(self.condition))}",
            )


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Config:
    """All sections; see each section's class for its keys."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    transform: TransformConfig = dataclasses.field(default_factory=TransformConfig)
    generator: GeneratorConfig = dataclasses.field(default_factory=GeneratorConfig)
    critic: CriticConfig = dataclasses.field(default_factory=CriticConfig)
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    penalty: PenaltyConfig = dataclasses.field(default_factory=PenaltyConfig)
    generator_optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    critic_optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    gfactor: GFactorConfig = dataclasses.field(default_factory=GFactorConfig)
    health: HealthConfig = dataclasses.field(default_factory=HealthConfig)
    monitor: MonitorConfig = dataclasses.field(default_factory=MonitorConfig)
    stopping: StoppingConfig = dataclasses.field(default_factory=StoppingConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = dataclasses.field(default_factory=EvaluateConfig)

    def to_sections(self) -> dict[str, dict[str, Any]]:
        """Sections of plain values, tuples as lists."""
        sections = dataclasses.asdict(self)
        return {
            name: {k: list(v) if isinstance(v, tuple) else v for k, v in section.items()}
            for name, section in sections.items()
        }


_PAPER: dict[str, Any] = {
    "transform.scale": ["symmetric"],
    "generator.hidden": 100,
    "generator.bidirectional": False,
    "generator.compress": 1,
    "generator.convs_after": 0,
    "generator.noise_global": 0,
    "generator.noise_step": 5,
    "generator.position": False,
    "critic.hidden": 100,
    "critic.bidirectional": False,
    "critic.compress": 1,
    "critic.convs": 0,
    "critic.differences": False,
    "critic.readout": "sequence",
    "critic.projection": False,
    "critic.position": False,
    "objective.name": "bce",
    "penalty.name": "none",
    "generator_optimizer.rate": 1e-3,
    "generator_optimizer.beta1": 0.9,
    "generator_optimizer.beta2": 0.999,
    "critic_optimizer.kind": "sgd",
    "critic_optimizer.rate": 0.1,
    "train.batch_size": 28,
    "train.balance": 0.0,
    "train.schedule": "constant",
    "train.warmup": 0,
    "train.average": 0.0,
}
"""Esteban, Hyland & Rätsch 2017: LSTM 100/100, noise of 5 at each step, the mean of the steps'
cross-entropies, D by gradient descent at 0.1, G by Adam with its usual settings, batches of 28."""

_FEEDBACK: dict[str, Any] = {
    "generator.feedback": True,
    "generator.hidden": 128,
    "objective.name": "likelihood",
    "generator_optimizer.rate": 3e-3,
    "generator_optimizer.beta1": 0.9,
    "generator_optimizer.beta2": 0.98,
    "monitor.metric": "likelihood",
    "stopping.patience": 4,
    "stopping.margin": 0.001,
    "train.balance": 0.0,
    "train.batch_size": 64,
    "train.steps": 12000,
    "monitor.looks": 80,
    "train.average": 0.99,
}
"""A generator that reads back what it has made, by likelihood: docs/training.md."""

_IMAGES: dict[str, Any] = {
    "generator.planar": True,
    "critic.planar": True,
    "penalty.weight": 0.002,
    "train.average": 0.995,
    "train.batch_size": 0,
}
"""A recurrence over coarse rows between convolutions over both axes: docs/images.md. The slope may
be steeper than for series by far, as in other GANs of small images."""

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "feedback": _FEEDBACK,
    "images": _IMAGES,
    "paper": _PAPER,
}


def preset(name: str) -> Config:
    """A complete configuration by name: "default", "feedback", "images", or "paper" (Esteban et al.
    2017).

    Raises:
        ConfigError: no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(
            f'there is no preset "{name}"',
            rule=f"presets are: {', '.join(PRESETS)}",
            repair=nearest(name, PRESETS),
        )
    return changed(Config(), PRESETS[name])


def changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """The configuration with ``{"section.key": value}`` put in.

    Text is read as its field's type, a comma between the entries of a list. Steps asked for take
    the place of epochs that ``config`` counts in.

    Raises:
        ConfigError: an unknown section or key (the nearest is named), or a value that breaks its
            field's rule.
    """
    if "train.steps" in settings and "train.epochs" not in settings:
        settings = {**settings, "train.epochs": 0}  # or the steps asked for would be passed over
    sections = config.to_sections()
    for path, value in settings.items():
        section, _, key = path.partition(".")
        known = [f"{s}.{k}" for s, keys in sections.items() for k in keys]
        if section not in sections or key not in sections[section]:
            raise ConfigError(
                f'there is no setting "{path}"',
                rule="settings are named section.key",
                repair=f"{nearest(path, known if '.' in path else sections)}",
            )
        if isinstance(sections[section][key], list) and isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        sections[section][key] = value
    return from_sections(sections)


def parse_settings(pairs: Iterable[str]) -> dict[str, str]:
    """``["train.steps=100"]`` to ``{"train.steps": "100"}``.

    Raises:
        ConfigError: an entry is not section.key=value.
    """
    settings = {}
    for pair in pairs:
        path, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(
                f'"{pair}" sets nothing',
                rule="--set takes section.key=value",
                repair="--set train.steps=2000",
            )
        settings[path.strip()] = value.strip()
    return settings


def from_sections(sections: Mapping[str, Any]) -> Config:
    """A configuration from plain data; what is left out has its default.

    Raises:
        ConfigError: an unknown section or key, or a value that breaks its field's rule.
    """
    for name, section in sections.items():
        fields = {field.name: field for field in dataclasses.fields(Config)}
        if name not in fields:
            raise ConfigError(
                f'there is no section "[{name}]"',
                rule=f"sections are: {', '.join(fields)}",
                repair=nearest(name, fields),
            )
        if not isinstance(section, Mapping):
            raise ConfigError(f'"{name}" is {section!r}', rule="a section holds key = value lines")
        keys = {field.name for field in dataclasses.fields(fields[name].default_factory)}  # type: ignore[arg-type]
        for key in section:
            if key not in keys:
                raise ConfigError(
                    f'there is no setting "{name}.{key}"',
                    rule=f"settings of [{name}] are: {', '.join(sorted(keys))}",
                    repair=nearest(key, keys),
                )
    try:
        return pydantic.TypeAdapter(Config).validate_python(dict(sections))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        own = first.get("ctx", {}).get("error")
        if isinstance(own, ConfigError):  # a section's own check, wrapped on its way here
            raise own from None
        path = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{path} is {first['input']!r}",
            rule=first["msg"],
            repair=f"--set {path}={_default(path)}",
        ) from error


def _default(path: str) -> str:
    """The default of a setting, as ``--set`` takes it."""
    section, _, key = path.partition(".")
    value = Config().to_sections().get(section, {}).get(key.partition(".")[0], "")
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def differences(old: Config, new: Config) -> dict[str, list[Any]]:
    """``{"section.key": [old, new]}`` for every setting that differs."""
    before, after = old.to_sections(), new.to_sections()
    return {
        f"{section}.{key}": [before[section][key], value]
        for section, keys in after.items()
        for key, value in keys.items()
        if before[section][key] != value
    }
