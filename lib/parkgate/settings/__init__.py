"""What an operator may change: the schema, edits and the two stored slots."""
