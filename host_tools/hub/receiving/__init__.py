"""From a message to a receipt: verify, accept, store."""
