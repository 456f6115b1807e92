"""People and programs at the hub's page: who they are and what they may.

accounts         people: name, role, password; a file beside the database
sessions         who is signed in
rights           every address of the page, and who may ask it
door             finds out who the visitor is, and lets him see only what is his
pages            sign in and out
operators        programs: tokens with scopes
register         enrolment over HTTP, by such a token
"""
