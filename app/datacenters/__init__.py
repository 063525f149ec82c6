"""Datacenters: the sites of servers and assets."""
