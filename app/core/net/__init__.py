"""Outgoing HTTP: address policy, client, deadlines; and GeoIP."""
