"""Recurrent GANs for real-valued sequences: train, sample, evaluate, with evidence."""

__version__ = "0.1.0"
