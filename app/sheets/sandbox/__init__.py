"""What reads and marks files that may be hostile: programs of their own, which the platform outlives."""
