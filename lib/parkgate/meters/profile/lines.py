"""The line of a profile file that a message of profiles.check is about.

Files are written one row a line, so a line is what a person looks for; the checked document no longer knows it. It is
found again by what the message names: a row by its quantity and address, else by its place among the rows; a field by
its name; each within the variant that the message names, where it names one.
"""

from parkgate.meters.profiles import with_variant


def line_of(text: str, message: str, document=None) -> int:
    """Line (from 1) of what `message` complains of in the file `text`; `document` is what it was parsed to."""
    start = 0
    head = message[: message.find(":")] if ":" in message else ""
    variant = head[head.find("+") + 1 :] if "+" in head else ""
    if variant:
        start = max(0, text.find('"%s":' % variant))
    at = None
    row = _row_of(document, variant, message)
    if row is not None:
        at = _find_row(text, row, start)
        if at is None and start:
            at = _find_row(text, row, 0)
    if at is None:
        at = _find_word(text, message, start)
    return 1 + text.count("\n", 0, at if at is not None else start)


def _row_of(document, variant, message):
    """The row that a message about "registers entry N" means (or "auxiliary entry N"), None when it is about no row."""
    at = message.find(" entry ")
    if at < 0 or document is None:
        return None
    field = "auxiliary" if message[:at].endswith("auxiliary") else "registers"
    if variant:
        document = with_variant(document, variant)
    digits = ""
    for c in message[at + 7 :]:
        if not c.isdigit():
            break
        digits += c
    rows = document.get(field, ())
    place = int(digits) - 1 if digits else -1
    return rows[place] if 0 <= place < len(rows) else None


def _find_row(text, row, start):
    """Where a row begins whose first two items are these."""
    if type(row) is not list or not row or type(row[0]) is not str:
        return None
    second = None
    if len(row) > 1 and type(row[1]) in (int, str):
        second = str(row[1]) if type(row[1]) is int else '"%s"' % row[1]
    at = start
    first = '"%s"' % row[0]
    while at >= 0:
        at = text.find(first, at + 1)
        if at < 0 or text[:at].rstrip()[-1:] != "[":
            continue
        rest = text[at + len(first) : at + len(first) + 40].lstrip()
        if second is None or rest[:1] != ",":
            return at
        rest = rest[1:].lstrip()
        if rest[: len(second)] == second and not rest[len(second) : len(second) + 1].isdigit():
            return at
    return None


def _find_word(text, message, start):
    """Where the first thing stands that the message names: 'quoted', or as word: before a colon."""
    words = []
    parts = message.split("'")
    words += parts[1::2]
    for part in message.split(": ")[1:]:  # the first is the file's name
        word = part.split(" ")[-1]
        if word.replace("_", "").isalpha() and word == word.lower():
            words.append(word)
    for word in words:
        at = text.find('"%s"' % word, start) if word else -1
        if at >= 0:
            return at
    return None
