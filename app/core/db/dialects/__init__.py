"""What differs between databases: a package for each, whose modules implement the protocols of protocol.py."""
