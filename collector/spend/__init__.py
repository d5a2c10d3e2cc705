"""What was spent, told from the ledger: for the command line, the pages and the API alike."""
