"""Physical and virtual machines."""
