"""The version of the platform."""

VERSION = "0.1.0"
