"""What an auditor asks: the log, its proofs, an archive."""
