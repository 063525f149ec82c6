"""The audit log: table, recorder, MACs, changes, bulk records."""
