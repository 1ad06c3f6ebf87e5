"""Scaling that can be undone, and packing into what networks read."""
