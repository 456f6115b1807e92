"""What a park manager asks: sums by hour, day and month, and what needs a person. Decisions apart from SQL."""
