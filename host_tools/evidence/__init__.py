"""What is handed to an auditor or a buyer: figures with how complete and how certain they are, and what they rest on.

pack     one file for a buyer or an auditor, and its check
oee      overall equipment effectiveness of a station (ISO 22400)
enpi     energy baselines and performance indicators (ISO 50001 6.4 and 6.5, ISO 50006)
"""
