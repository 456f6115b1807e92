"""The hub's log: leaves in the database, tiles beside it, checkpoints signed once and never otherwise (SPEC 13).

keys      the log's key file                     tables    what the database holds of it
tree      a tree that grows, and its tiles       signed    what was signed last, kept outside the database
record    leaves added inside a transaction      signer    checkpoints of what is committed
log       read it, and make proofs of it         check     find what is damaged
"""
