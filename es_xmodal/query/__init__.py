"""What was asked; the pure plan; pure fusion; the ledger of a score."""
