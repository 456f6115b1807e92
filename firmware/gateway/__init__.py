"""Parts of the gateway that are no loops: what it notes, keeps, signs and says of itself."""
