"""Stage 4: match rows with stored objects, compare, and check them against each other."""
