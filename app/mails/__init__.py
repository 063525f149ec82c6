"""Mail for administrators: what was sent, what waits, and what has failed."""
