"""Archives that a stranger checks alone: how they are written, and the two verifiers that travel inside."""
