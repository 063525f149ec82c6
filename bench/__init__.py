"""The benchmarks: each measures the platform beside the limit of what it stands on, in the same run."""
