"""What an object may be read with: what the caller may do with it, and how many children it has."""
