"""Benchmarks: each measures the platform and the physical limit of the same work in one run."""
