"""Stage 5: write a plan to the database in one transaction."""
