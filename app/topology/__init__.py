"""Servers with their containers, GPUs and services as a tree."""
