"""Services that run in a container or on a server, and their health checks."""
