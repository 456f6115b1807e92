"""`parkgate bench`: what the wire format costs for your data, beside other formats on the same rows.

command   the verb and its arguments
table     a CSV file of any kind → times and channels as integers
wire      sizes: ours, part by part, and everybody else's
peers     the other formats, each encoded by its own library
ideal     the code length of an ideal adaptive coder, the yardstick for columns
"""
