"""The proof that nobody has touched the audit log: its Merkle tree, the signed checkpoints, their verification."""
