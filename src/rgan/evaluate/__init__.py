"""Is synthetic data like real data, and is it useful? Metrics with their floors and controls."""
