"""One file a family of instruments. The bus is injected, nothing is touched at construction, and one `read()` is one
coherent sample with a bounded wait."""
