"""One search over every resource."""
