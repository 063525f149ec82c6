"""Office and network equipment: whatever is owned and is no server."""
