"""What I have done."""
