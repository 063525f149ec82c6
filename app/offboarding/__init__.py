"""Offboarding: handing over what a user owns, and releasing the GPUs that the user holds."""
