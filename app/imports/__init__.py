"""Spreadsheets in: read, plan, apply."""
