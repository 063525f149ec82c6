"""Servers with what stands and runs on them."""
