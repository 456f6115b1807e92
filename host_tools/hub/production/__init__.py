"""Lots and jobs, from the entries that gateways signed (SPEC 15) and from nothing else. Nothing is stored twice:

entries      the entries of every chain, as their gateways signed them, with what counters did between them
jobs         one chain's stations and jobs, with corrections applied
allocation   what a register grew, shared out to jobs, idle and unassigned, to the last unit
genealogy    which lot went into which; recall forward and back
floor        the above of all gateways
index        the same entries as tables, so that a recall or a proof reads what it needs
proof        what the proof of a lot holds (SPEC 15.3)
document     lots as JSON, for the command, the API and the page
"""
