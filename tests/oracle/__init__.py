"""A second proof of the journal: its own model of bad flash, and its own statement of what the journal promises.

It shares no line with tests/sim: two harnesses that err in the same way would prove nothing.
"""
