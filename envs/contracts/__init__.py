"""The contracts of scenarios: clauses that every instance and every form keeps; `testing.py` tries them."""
