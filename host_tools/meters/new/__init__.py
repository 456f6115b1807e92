"""`meters new`: a profile for a meter that nobody has described yet, made by questions and tried live."""
