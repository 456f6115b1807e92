"""What a manager asks: the park, its places, bills, alarms and files."""
