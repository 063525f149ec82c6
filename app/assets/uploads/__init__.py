"""The pictures of assets, as files."""
