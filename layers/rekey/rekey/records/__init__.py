"""Lease, ledger, escrow, plans, evidence: the only code that speaks DynamoDB and S3."""
