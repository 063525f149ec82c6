"""Servers, physical or virtual."""
