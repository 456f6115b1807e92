"""The log: a Merkle tree of all that is signed, its checkpoints and proofs, and gateways as witnesses (SPEC 13)."""
