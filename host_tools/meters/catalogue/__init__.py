"""The included profiles as a whole: beside what other sources say, and as a list for people."""
