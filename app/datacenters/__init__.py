"""Places where servers stand."""
