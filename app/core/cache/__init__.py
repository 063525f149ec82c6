"""Caching under generations per table; the Redis connection and its circuit breaker."""
