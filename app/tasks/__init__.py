"""What people note to do about the infrastructure, each for themselves."""
