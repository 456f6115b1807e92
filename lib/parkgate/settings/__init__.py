"""What an operator may change: the schema, edits and the two stored slots."""

# The parts of a row of schema.TABLE and of sensors.option_fields. HIGH holds the choices where KIND is "choice".
NAME, KIND, DEFAULT, LOW, HIGH, UNIT, MEANING = 0, 1, 2, 3, 4, 5, 6
