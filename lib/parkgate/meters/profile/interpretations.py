"""What registers may mean when nobody knows their type: every type and order at once, for a person to choose from."""

from parkgate.meters import registers


def interpretations(words) -> list:
    """[(type, order, numerator, denominator), …] of 1 to 4 register words (16 bits each, as they came): every type of
    this width in every order in which it is a number, exactly. An order that gives the same number as one before it is
    left out, and so are texts."""
    bits = 16 * len(words)
    data = b"".join([bytes([word >> 8, word & 255]) for word in words])
    found = []
    for type_name in registers.type_names():
        if type_name[:4] == "text" or type_name == "bit":
            continue
        seen = []
        for order in registers.ORDERS:
            code = registers.layout(type_name, order)
            if 16 * registers.width(code) != bits:
                continue
            contents = registers.raw(data, 0, code)
            numerator, denominator = registers.number(contents, registers.kind(code), bits)
            if denominator and (numerator, denominator) not in seen:
                seen.append((numerator, denominator))
                found.append((type_name, order, numerator, denominator))
    return found
