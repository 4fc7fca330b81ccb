"""The stages in order, and what people ask for: fit, evaluate, compare, embed, check the data."""
