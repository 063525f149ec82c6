"""Search over every resource."""
