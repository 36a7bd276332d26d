"""What things cost, and the ledger that says what was made, gone and paid."""
