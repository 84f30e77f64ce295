"""Pictures, vectors and tokens for an index that the shop already has, in place."""
