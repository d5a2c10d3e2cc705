"""What drives the whole product from outside, for the acceptance tests and for the comparison of faults.

product.py starts it as a user would; client.py is the process that makes calls and writes down what it saw;
verdict.py holds that against the ledger; faults.py breaks things.
"""
