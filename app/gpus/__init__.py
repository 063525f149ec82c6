"""GPUs: assignment to users, availability and utilization."""
