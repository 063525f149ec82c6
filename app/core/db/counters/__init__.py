"""Counters: how many objects have each value of a column, kept by triggers where a table may be too large to count."""
