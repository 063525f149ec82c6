"""What administrators do with the accounts of others, and the links that they send."""
