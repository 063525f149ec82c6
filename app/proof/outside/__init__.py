"""The checkpoints outside the database, where its administrator cannot write: in a file, or in objects of a bucket."""
