"""How often somebody may ask, and how many requests are worked on at once."""
