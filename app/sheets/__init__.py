"""Spreadsheets as files: read in a sandbox, written; knows no resource."""
