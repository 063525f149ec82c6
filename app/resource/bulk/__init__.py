"""Many writes in one request: items, the set-based writer, routes and schemas."""
