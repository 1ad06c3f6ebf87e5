"""The training loop: it emits events and imports no listener."""
