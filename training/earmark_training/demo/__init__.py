"""`make demo`: the whole chain on an evening at home."""
