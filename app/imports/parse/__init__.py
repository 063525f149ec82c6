"""Stage 3: parse the cells of a table into typed values."""
