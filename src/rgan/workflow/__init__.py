"""The only wiring: data, transforms, networks, loop, run folder and evaluation put together."""
