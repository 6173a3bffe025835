"""Benchmarks: how long what matters takes on this machine, each beside a peer that was measured in the same run."""
