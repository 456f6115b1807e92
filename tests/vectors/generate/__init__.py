"""The generators of the vectors: one small function a vector, from cbor2, cryptography and plain arithmetic.

None of them imports Parkgate's own code: what they make is an opinion of its own about lib/SPEC.md. (The vectors of
the meters, in a folder of their own, are made by `meter_vectors`.)
"""

from . import (
    batch_vectors,
    beat_vectors,
    cbor_vectors,
    chain_vectors,
    column_vectors,
    cose_vectors,
    key_vectors,
    receipt_vectors,
    registry,
    signature_vectors,
)

MODULES = (
    cbor_vectors,
    key_vectors,
    cose_vectors,
    batch_vectors,
    column_vectors,
    signature_vectors,
    chain_vectors,
    beat_vectors,
    receipt_vectors,
)


def all_vectors() -> dict[str, str]:
    """The text of every vector's file, by its name without `.json`."""
    return {name: registry.text(build()) for name, build in registry.VECTORS.items()}
