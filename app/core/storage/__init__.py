"""Storage of files: a folder, or a bucket of an S3-compatible object store."""
