"""Office and network equipment: everything owned that is not a server."""
