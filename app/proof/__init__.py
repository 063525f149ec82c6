"""Proof of the audit log: its Merkle tree, signed checkpoints, and their verification."""
