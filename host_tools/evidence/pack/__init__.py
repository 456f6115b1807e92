"""An evidence pack: one file for a buyer or an auditor, with every figure's completeness, uncertainty and proof.

factors   emission factors as dated records with their sources; none is built in
figures   months of energy at a place, what they weigh in CO2e, lots, meters, events
paper     the report as a page, in English and Khmer
pack      writes the file, with a signed statement that names every member by its hash
check     checks such a file, and names what is wrong with it
"""
