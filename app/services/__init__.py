"""What runs in a container or on a server."""
