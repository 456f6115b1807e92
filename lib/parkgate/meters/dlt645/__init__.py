"""DL/T 645-2007, which Chinese DIN meters speak: frames, the client, values and the plan of reads (SPEC 11.12)."""
