"""The download of asset images."""
